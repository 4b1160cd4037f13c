"""Validation: every image of every validation set scored, and the metrics of the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from study.data.batches import evaluation_batches
from study.data.images import ImageSet
from study.data.roles import StudyData
from study.device import full_float32, scored_at_once
from study.errors import TrialFailed
from study.recipes.base import CombinesScores, Fitted, Recipe
from study.recipes.params import TrialParams
from study.records.files import VAL_ID
from study.records.scores import SetScores, ValidationScores
from study.scoring.measuring import OOD_METRICS, ood_metric, ood_metrics

Read = Callable[[ImageSet, torch.device], Iterator[torch.Tensor]]
"""A set and a device -> what the model takes of the set, in batches, in the set's order."""


def read_images(images: ImageSet, device: torch.device) -> Iterator[torch.Tensor]:
    """The images themselves, float32 in [0, 1]."""
    at_once = scored_at_once(device, int(images.pixels.shape[1]))
    return evaluation_batches(images, at_once, device, channels_last=True)


@dataclass(frozen=True)
class Scored:
    """Scores of one set of images at one state of a model.

    Attributes:
        images: the set.
        prediction: predicted class, (N,) int16.
        scores: score name -> (N,) float64, higher = more OOD.
    """

    images: ImageSet
    prediction: NDArray[np.int16]
    scores: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Evaluation:
    """ID images and named OOD sets scored at one state of a model.

    Attributes:
        id: the ID images.
        ood: the OOD sets by name.
        fitted: what the scores needed beside the model.
    """

    id: Scored
    ood: dict[str, Scored]
    fitted: Fitted

    def id_accuracy(self) -> float:
        """Share of ID images whose predicted class is theirs."""
        return float(np.mean(self.id.prediction == self.id.images.labels))

    def metrics(self, own_score: str) -> dict[str, float]:
        """``val/...`` metrics of the contract; means over the OOD sets are of ``own_score``."""
        metrics = {"val/id_accuracy": self.id_accuracy(), **self.error_detection()}
        for set_name, scored in self.ood.items():
            for score, values in scored.scores.items():
                one = ood_metrics(self.id.scores[score], values)
                metrics |= {f"val/{set_name}/{score}/{name}": one[name] for name in OOD_METRICS}
        if self.ood:
            for name in OOD_METRICS:
                per_set = [metrics[f"val/{one}/{own_score}/{name}"] for one in self.ood]
                metrics[f"val/{name}"] = float(np.mean(per_set))
        return metrics

    def error_detection(self) -> dict[str, float]:
        """``val/<score>/error_auroc``: whether a score tells a wrong prediction from a right one.

        The probability that a wrongly predicted ID image scores above a rightly predicted one,
        ties counted half. Empty where all predictions are right, or all wrong.
        """
        right = self.id.prediction == self.id.images.labels
        if right.all() or not right.any():
            return {}
        scores = self.id.scores.items()
        return {
            f"val/{name}/error_auroc": ood_metric("auroc", one[right], one[~right])
            for name, one in scores
        }

    def as_epoch(
        self, epoch: int, id_name: str = VAL_ID, *, alpha: float = 1.0
    ) -> ValidationScores:
        """The scores as the record of one state that is kept on disk."""
        sets = {id_name: _record(self.id)}
        sets |= {name: _record(scored) for name, scored in self.ood.items()}
        return ValidationScores(np.array([epoch], np.int32), sets, np.array([alpha]))


def _record(scored: Scored) -> SetScores:
    return SetScores(
        scores={name: values[None] for name, values in scored.scores.items()},
        prediction=scored.prediction[None],
        label=scored.images.labels.astype(np.int16),
        image=scored.images.ids,
        group=scored.images.groups,
    )


def evaluate(
    recipe: Recipe[TrialParams],
    model: nn.Module,
    data: StudyData,
    device: torch.device,
    *,
    scored: nn.Module | None = None,
    read: Read = read_images,
) -> Evaluation:
    """Score the validation roles; what scores need is measured on train and validation ID.

    Args:
        recipe: says which scores.
        model: the whole model.
        data: the roles.
        device: where to score.
        scored: the part of the model that takes what ``read`` gives; None for all of it.
        read: what is read of a set; the images, where nothing is said.

    Raises:
        TrialFailed: where a score is not finite or is the same for every image.
    """
    full_float32(device)
    model.eval()
    part = model if scored is None else scored.eval()
    fitted, images = recipe.fit(model, data, device), data.val_id.images
    id_scored = score_images(recipe, part, images, device, fitted, read)
    if isinstance(recipe, CombinesScores):
        fitted = {**fitted, **recipe.calibrate(id_scored.scores)}
    sets = data.ood_val.sets
    return evaluate_sets(recipe, part, images, sets, device, fitted, read, id_scored)


def evaluate_sets(
    recipe: Recipe[TrialParams],
    model: nn.Module,
    id_images: ImageSet,
    ood_sets: Mapping[str, ImageSet],
    device: torch.device,
    fitted: Fitted,
    read: Read = read_images,
    id_scored: Scored | None = None,
) -> Evaluation:
    """Score ID images and named OOD sets with what was fitted; ``id_scored`` where that is there.

    Raises:
        TrialFailed: where a score is not finite or is the same for every image.
    """
    model.eval()
    if id_scored is None:
        id_scored = score_images(recipe, model, id_images, device, fitted, read)
    ood = {
        name: score_wholly(recipe, model, images, device, fitted, read)
        for name, images in ood_sets.items()
    }
    evaluation = Evaluation(_with_combined(recipe, id_scored, fitted), ood, fitted)
    _refuse_degenerate(evaluation, recipe.may_be_constant)
    return evaluation


def score_wholly(
    recipe: Recipe[TrialParams],
    model: nn.Module,
    images: ImageSet,
    device: torch.device,
    fitted: Fitted,
    read: Read = read_images,
) -> Scored:
    """All scores of one set, those that are made of others too; as `score_images`."""
    scored = score_images(recipe, model, images, device, fitted, read)
    return _with_combined(recipe, scored, fitted)


def _with_combined(recipe: Recipe[TrialParams], scored: Scored, fitted: Fitted) -> Scored:
    if not isinstance(recipe, CombinesScores):
        return scored
    return replace(scored, scores=recipe.combine(scored.scores, fitted))


@torch.inference_mode()
def score_images(
    recipe: Recipe[TrialParams],
    model: nn.Module,
    images: ImageSet,
    device: torch.device,
    fitted: Fitted,
    read: Read = read_images,
) -> Scored:
    """Scores of one set, before any are combined.

    They do not depend on how the set is cut into batches: the model is in evaluation mode.
    """
    full_float32(device)
    predictions, scores = [], []
    for batch in read(images, device):
        prediction, one = recipe.score(model, batch, fitted)
        predictions.append(prediction)
        scores.append(one)
    joined = {name: np.concatenate([one[name] for one in scores]) for name in scores[0]}
    return Scored(images, np.concatenate(predictions).astype(np.int16), joined)


def _refuse_degenerate(evaluation: Evaluation, may_be_constant: frozenset[str]) -> None:
    """A score that is not finite, or the same for all images, measures nothing."""
    for score, id_values in evaluation.id.scores.items():
        everything = np.concatenate(
            [id_values, *(scored.scores[score] for scored in evaluation.ood.values())]
        )
        bad = np.count_nonzero(~np.isfinite(everything))
        if bad:
            raise TrialFailed(f"score {score}: {bad} of {everything.size} values are not finite")
        if np.ptp(everything) == 0 and score not in may_be_constant:
            raise TrialFailed(
                f"score {score} is {everything[0]:.6g} for all {everything.size} validation images"
            )
