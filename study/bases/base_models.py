"""Base models, as a study measures them: trained into the cache, from a file, or its own copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from study.bases.evaluations import evaluation_of
from study.bases.logits import logits_of
from study.bases.training import BaseSpec, FoundBase
from study.data.images import ImageSet
from study.data.roles import StudyData
from study.losses.energy import free_energy
from study.losses.margins import EnergyStats
from study.models.pretrained import pretrained
from study.models.weights import load_into
from study.recipes.base import Fitted, Recipe
from study.recipes.params import TrialParams
from study.records.frozen import file_hash
from study.records.scores import ValidationScores
from study.seeding import numpy_generator
from study.training.chosen import load_chosen

_MEASURED_OUTLIERS = 5_000


@dataclass(frozen=True)
class RecordedBase:
    """A base that a run's folder holds a copy of.

    Attributes:
        path: its weights.
        key: its name in the cache when the study began.
        saw_validation: whether it may have seen validation images.
    """

    path: Path
    key: str
    saw_validation: bool


@dataclass(frozen=True, eq=False)
class BaseModel:
    """A trained classifier and what was measured of it.

    Attributes:
        key: its name in the cache, or the fingerprint of the file it came from.
        path: its weights.
        weights: the same, as arrays.
        saw_validation: whether validation images were, or may have been, in its training data.
        trained_now: whether this call trained it (or a part of it).
        metrics: its validation metrics, as of an epoch of a trial.
        scores: its per-image validation scores, one epoch row.
        id_logits: on the validation ID images, (N, K).
        outlier_logits: on up to 5,000 of the training outliers, (M, K); None without outliers.
        fitted: what its scores need beside the weights.
        origin: see `study.bases.training.FoundBase`.
    """

    key: str
    path: Path
    weights: dict[str, NDArray[Any]]
    saw_validation: bool
    trained_now: bool
    metrics: dict[str, float]
    scores: ValidationScores
    id_logits: torch.Tensor
    outlier_logits: torch.Tensor | None
    fitted: Fitted = field(default_factory=dict)
    origin: Mapping[str, Any] | None = None

    @lru_cache  # noqa: B019 - a study has few bases, and asks one for every trial
    def energy_stats(self, temperature: float) -> EnergyStats | None:
        """Mean and standard deviation of the energies, nats; None without outliers."""
        if self.outlier_logits is None:
            return None
        both = (self.id_logits, self.outlier_logits)
        id_, outlier = (free_energy(logits.double(), temperature) for logits in both)
        return EnergyStats(*map(float, (id_.mean(), id_.std(), outlier.mean(), outlier.std())))


def loaded_base(
    path: Path, spec: BaseSpec, data: StudyData, key: str | None = None
) -> FoundBase | None:
    """A base from a file of weights; it may have seen the validation images.

    Args:
        path: the file, in any layout of `study.models.checkpoints`.
        spec: the network that it is to fit.
        data: says for how many classes its head must be.
        key: which network of the file; None finds it.

    Returns:
        The base; None where the file holds a network without a head for these classes.

    Raises:
        BadInput: where it cannot be read or does not fit.
    """
    model = spec.fresh_model(data)
    found = pretrained(spec.backbone, model, path, key)
    head = found.head(data.num_classes)
    if head is None:
        return None
    name, weight, bias = head
    behind = {f"backbone.{tensor}": values for tensor, values in found.backbone.items()}
    given = {**behind, **found.normalisation, "fc.weight": weight, "fc.bias": bias}
    kept = {key: model.state_dict()[key] for key in ("mean", "std")}
    load_into(model, {**kept, **given}, path)
    digest = file_hash(path)
    told = found.loaded
    origin = {
        "file": str(path.resolve()),
        "sha256": digest,
        "layout": told.layout,
        "head": name,
        "copies": list(told.copies),
        "unused": [one for one in told.unused if one not in (f"{name}.weight", f"{name}.bias")],
    }
    return FoundBase(str(digest)[:24], path, model, saw_validation=True, origin=origin)


def copied_base(recorded: RecordedBase, spec: BaseSpec, data: StudyData) -> FoundBase:
    """The base of a study that goes on, from its own folder, whatever the cache holds by now."""
    model = spec.fresh_model(data)
    load_into(model, load_chosen(recorded.path).model)
    return FoundBase(recorded.key, recorded.path, model, recorded.saw_validation)


def measured(
    found: FoundBase, data: StudyData, *, device: torch.device, scored_by: Recipe[TrialParams]
) -> BaseModel:
    """A base with its scores on the validation roles.

    Args:
        found: the base.
        data: the roles.
        device: where to score.
        scored_by: the recipe whose scores it is measured with.
    """
    model = found.model
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    evaluation = evaluation_of(scored_by, model, data, device)
    outliers = None
    if data.outliers is not None:
        outliers = logits_of(model, _sample(data.outliers.images), device)
    return BaseModel(
        key=found.key,
        path=found.path,
        weights={name: value.cpu().numpy() for name, value in model.state_dict().items()},
        saw_validation=found.saw_validation,
        trained_now=found.trained_now,
        metrics=evaluation.metrics(scored_by.own_score),
        scores=evaluation.as_epoch(1),
        id_logits=logits_of(model, data.val_id.images, device),
        outlier_logits=outliers,
        fitted=evaluation.fitted,
        origin=found.origin,
    )


def _sample(images: ImageSet) -> ImageSet:
    if len(images) <= _MEASURED_OUTLIERS:
        return images
    chosen = numpy_generator(0, "measured outliers").permutation(len(images))
    return images.take(np.sort(chosen[:_MEASURED_OUTLIERS]))
