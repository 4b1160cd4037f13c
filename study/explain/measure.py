"""All numbers of a model's maps, as plain values for a JSON file and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from study.explain.attribution import MapOptions, Target, attribute
from study.explain.checks import (
    FRACTIONS,
    agreement,
    completeness_gap,
    deletion,
    weight_randomisation,
)
from study.explain.choice import ChosenImages
from study.explain.explanation import (
    Explanation,
    as_images,
    class_target_of,
    similarity_target_of,
)
from study.explain.pair import PairLogit

Plain = dict[str, Any]


class Measurement:
    """The checks of one model's maps.

    Attributes:
        model: on ``device``.
        options: that its maps were made with.
        pair: scale and offset of the similarity logit.
        seed: of random orders, new weights and intervals.
    """

    def __init__(
        self,
        model: nn.Module,
        options: MapOptions,
        pair: PairLogit,
        seed: int,
        device: torch.device,
    ) -> None:
        self.model = model
        self.options = options
        self.pair = pair
        self.seed = seed
        self.device = device

    def of_sets(
        self,
        sets: Mapping[str, ChosenImages],
        explanations: Mapping[str, Explanation],
        checks: Sequence[str],
    ) -> Plain:
        """The checks on each set.

        Args:
            sets: the images by set.
            explanations: of the same images.
            checks: of ``CHECKS``.

        Returns:
            Set -> check -> branch -> numbers; agreement has no branch.
        """
        return {
            name: self._of_set(chosen, explanations[name], checks) for name, chosen in sets.items()
        }

    def _of_set(
        self, chosen: ChosenImages, explained: Explanation, checks: Sequence[str]
    ) -> Plain:
        maps = {"class": explained.class_maps}
        if explained.similarity_maps is not None:
            maps["similarity"] = explained.similarity_maps
        found: Plain = {}
        if self.options.method == "integrated_gradients":
            found["completeness_gap"] = {
                branch: self._gap(chosen, explained, branch, map_) for branch, map_ in maps.items()
            }
        if "deletion" in checks:
            found["deletion"] = {
                branch: self._deletion(chosen, explained, branch, map_)
                for branch, map_ in maps.items()
            }
        if "randomisation" in checks:
            found["randomisation"] = {
                branch: self._randomisation(chosen, explained, branch) for branch in maps
            }
        if "agreement" in checks and explained.similarity_maps is not None:
            found["agreement"] = agreement(
                explained.class_maps,
                explained.similarity_maps,
                chosen.groups,
                self.seed,
                chosen.name,
            ).to_json()
        return found

    def _target(
        self, model: nn.Module, chosen: ChosenImages, explained: Explanation, branch: str
    ) -> Target:
        if branch == "class":
            return class_target_of(model, explained.predicted, self.device)
        return similarity_target_of(model, chosen, self.pair, self.device)

    def _gap(
        self, chosen: ChosenImages, explained: Explanation, branch: str, maps: Tensor
    ) -> float:
        target = self._target(self.model, chosen, explained, branch)
        images = as_images(chosen.pixels, self.device)
        return completeness_gap(target, images, maps, self.options.baseline)

    def _deletion(
        self, chosen: ChosenImages, explained: Explanation, branch: str, maps: Tensor
    ) -> Plain:
        target = self._target(self.model, chosen, explained, branch)
        images = as_images(chosen.pixels, self.device)
        name = f"{chosen.name} {branch}"
        told = asdict(deletion(target, images, maps, chosen.groups, self.seed, name))
        return {**told, "fractions": list(FRACTIONS)}

    def _randomisation(self, chosen: ChosenImages, explained: Explanation, branch: str) -> Plain:
        images = as_images(chosen.pixels, self.device)

        def make_maps(model: nn.Module) -> Tensor:
            target = self._target(model, chosen, explained, branch)
            return attribute(target, images, self.options)

        name = f"{chosen.name} {branch}"
        return {
            layers: weight_randomisation(
                self.model, make_maps, chosen.groups, layers=layers, seed=self.seed, name=name
            ).to_json()
            for layers in ("top", "all")
        }


def table(numbers: Plain) -> list[tuple[str, ...]]:
    """Rows of text: set, check, branch, mean with its interval, images (source groups)."""
    head = ("set", "number", "branch", "mean [95 % interval]", "images (sources)")
    rows: list[tuple[str, ...]] = [head]
    for name, checks in numbers.items():
        for branch, told in checks.get("deletion", {}).items():
            rows.append((name, "deletion: fall over random", branch, *_cells(told["over_random"])))
            if told["over_other"] is not None:
                what = "deletion: fall over another image's map"
                rows.append((name, what, branch, *_cells(told["over_other"])))
        for branch, told in checks.get("randomisation", {}).items():
            for layers, one in told.items():
                what = f"rank correlation, {layers} layers randomised"
                rows.append((name, what, branch, *_cells(one)))
        if "agreement" in checks:
            what = "rank correlation of the two branches"
            rows.append((name, what, "both", *_cells(checks["agreement"])))
    return rows


def _cells(told: Plain) -> tuple[str, str]:
    if told["mean"] is None:
        return "undefined", "0"
    low, high = (f"{told[end]:.3f}" for end in ("low", "high"))
    count = f"{told['num_images']} ({told['num_groups']})"
    text = f"{told['mean']:.3f} [{low}, {high}]"
    return text.replace("-", "\N{MINUS SIGN}"), count


def not_finite(explanations: Mapping[str, Explanation]) -> list[str]:
    """Sets with a map that is not finite."""
    return [
        name
        for name, one in explanations.items()
        if not bool(
            np.isfinite(one.class_maps.numpy()).all()
            and (one.similarity_maps is None or np.isfinite(one.similarity_maps.numpy()).all())
        )
    ]
