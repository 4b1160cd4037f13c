"""All numbers of a model's maps, as plain values for a JSON file and a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from study.explain.attribution import attribute
from study.explain.checks import (
    FRACTIONS,
    agreement,
    completeness_gap,
    deletion,
    weight_randomisation,
)
from study.explain.choice import ChosenImages
from study.explain.explanation import CLASS, SIMILARITY, Branches, Explanation
from study.explain.options import MapOptions
from study.explain.targets import PairLogit

Plain = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """The checks of one model's maps.

    Attributes:
        model: on ``device``.
        options: that its maps were made with.
        pair: scale and offset of the similarity logit; None for 1 and 0.
        seed: of random orders, new weights and intervals.
        device: where to compute.
    """

    model: nn.Module
    options: MapOptions
    pair: PairLogit | None
    seed: int
    device: torch.device

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
        asked = Branches.of(chosen, explained.predicted, self.pair, self.device)
        groups, seed, images = chosen.images.groups, self.seed, asked.images

        def gap(branch: str) -> float:
            target, maps = asked.target(branch, self.model), explained.maps[branch]
            return completeness_gap(target, images, maps, self.options.baseline)

        def fall(branch: str) -> Plain:
            target, maps = asked.target(branch, self.model), explained.maps[branch]
            told = deletion(target, images, maps, groups, seed, f"{chosen.name} {branch}")
            return {**asdict(told), "fractions": list(FRACTIONS)}

        def randomisation(branch: str) -> Plain:
            def make_maps(model: nn.Module) -> Tensor:
                return attribute(asked.target(branch, model), images, self.options)

            parts = (self.model, make_maps, groups)
            check = partial(
                weight_randomisation, *parts, seed=seed, name=f"{chosen.name} {branch}"
            )
            return {layers: asdict(check(layers=layers)) for layers in ("top", "all")}

        wanted: dict[str, Callable[[str], Any]] = {}
        if self.options.method == "integrated_gradients":
            wanted["completeness_gap"] = gap
        wanted |= {"deletion": fall} if "deletion" in checks else {}
        wanted |= {"randomisation": randomisation} if "randomisation" in checks else {}
        found: Plain = {
            name: {branch: check(branch) for branch in explained.maps}
            for name, check in wanted.items()
        }
        if "agreement" in checks and SIMILARITY in explained.maps:
            both = explained.maps[CLASS], explained.maps[SIMILARITY]
            found["agreement"] = asdict(agreement(*both, groups, seed, chosen.name))
        return found


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
        if not all(np.isfinite(maps.numpy()).all() for maps in one.maps.values())
    ]
