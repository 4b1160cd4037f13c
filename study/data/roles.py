"""Roles as types: what training and search may see of the data, and nothing else.

No type of this module can hold a test image. Those have types of their own in
:mod:`study.data.test_access`, which the final test and the leak check alone import.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from study.data.images import ImageSet
from study.errors import BadInput, Fault
from study.seeding import numpy_generator


@dataclass(frozen=True, eq=False)
class TrainID:
    """In-distribution images that a classifier is trained on."""

    images: ImageSet


@dataclass(frozen=True, eq=False)
class ValidationID:
    """In-distribution images cut from the training set; thresholds and floors come from them."""

    images: ImageSet


@dataclass(frozen=True, eq=False)
class Outliers:
    """Auxiliary images outside the distribution that training may use."""

    images: ImageSet


@dataclass(frozen=True, eq=False)
class OODValidation:
    """Named OOD sets that search and selection measure on."""

    sets: dict[str, ImageSet]


@dataclass(frozen=True, eq=False)
class KeptPart:
    """Validation images that neither search nor selection goes by (``study.data.kept``).

    Attributes:
        id: ID images.
        ood: the OOD validation sets, by the names of their other part.
    """

    id: ImageSet
    ood: dict[str, ImageSet]


@dataclass(frozen=True, eq=False)
class StudyData:
    """All data that a study's training, search and selection see.

    Attributes:
        train: ID images to train on.
        val_id: ID images held out of ``train``.
        outliers: auxiliary outliers; None where the study has none.
        ood_val: the OOD validation sets.
        num_classes: number of ID classes.
        demo: whether this is the embedded demo set.
        notes: what a reader of the numbers must know, for the header, manifest and report.
        kept: the part of validation that no search goes by; None where none is kept apart.
    """

    train: TrainID
    val_id: ValidationID
    outliers: Outliers | None
    ood_val: OODValidation
    num_classes: int
    demo: bool
    notes: tuple[str, ...] = ()
    kept: KeptPart | None = None

    @property
    def image_size(self) -> int:
        """Side of the images, pixels."""
        return int(self.train.images.pixels.shape[1])

    def mapped(self, change: Callable[[str, ImageSet], ImageSet]) -> StudyData:
        """The same with each set as ``change`` makes it of its name in `sets` and its images."""
        new = {role: change(role, images) for role, images in self.sets().items()}
        ood_val = {name: new[f"ood_val/{name}"] for name in self.ood_val.sets}
        kept = None
        if self.kept is not None:
            confirm_ood = {name: new[f"confirm_ood/{name}"] for name in self.kept.ood}
            kept = KeptPart(new["confirm_id"], confirm_ood)
        return replace(
            self,
            train=TrainID(new["train"]),
            val_id=ValidationID(new["val_id"]),
            outliers=self.outliers and Outliers(new["outliers"]),
            ood_val=OODValidation(ood_val),
            kept=kept,
        )

    def sets(self) -> Mapping[str, ImageSet]:
        """Every set by its role's name: ``train``, ``val_id``, ``outliers``, ``ood_val/<set>``.

        The part that is kept has the roles ``confirm_id`` and ``confirm_ood/<set>``.
        """
        named = {"train": self.train.images, "val_id": self.val_id.images}
        if self.outliers is not None:
            named["outliers"] = self.outliers.images
        named |= {f"ood_val/{name}": images for name, images in self.ood_val.sets.items()}
        if self.kept is not None:
            named["confirm_id"] = self.kept.id
            named |= {f"confirm_ood/{name}": images for name, images in self.kept.ood.items()}
        return MappingProxyType(named)

    def fingerprints(self) -> dict[str, dict[str, Any]]:
        """Role -> fingerprint, num_images, num_groups, provenance and codec of its set."""
        return {role: images.summary() for role, images in self.sets().items()}

    @property
    def fingerprint(self) -> str:
        """sha256 (hexadecimal) over the roles' names and fingerprints."""
        facts = {role: images.fingerprint for role, images in sorted(self.sets().items())}
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def given_validation(images: ImageSet, validation: ImageSet) -> tuple[TrainID, ValidationID]:
    """All training images, and validation images that a set has of its own."""
    return (
        TrainID(replace(images, name="train")),
        ValidationID(replace(validation, name="val_id")),
    )


def split_validation(images: ImageSet, fraction: float, seed: int) -> tuple[TrainID, ValidationID]:
    """Cut the ID validation set from the training images, stratified by label and seeded.

    Whole source groups move, so that crops of one image never stand on both sides; a group is
    stratified by the label of its first image. Rows keep their order. Each class gives at least
    one image to either side.

    Args:
        images: labelled training images.
        fraction: share of each class that goes to validation, in (0, 1).
        seed: of the stream "split".

    Raises:
        BadInput: for a fraction outside (0, 1), unlabelled images, or a class with one source.
    """
    if not 0 < fraction < 1:
        raise BadInput(Fault("data.val_fraction", "", "must lie between 0 and 1", value=fraction))
    if images.labels.min() < 0:
        rule = f"'{images.name}' has images without a label"
        raise BadInput(Fault("data.id", "", rule, "Name a labelled set."))
    generator = numpy_generator(seed, "split")
    _, first, group_of, sizes = np.unique(
        images.groups, return_index=True, return_inverse=True, return_counts=True
    )
    held_out = np.zeros(len(sizes), dtype=bool)
    group_labels = images.labels[first]
    for label in np.unique(group_labels):
        # sorted by first row: the draw depends on the rows' order, not on how names sort
        groups = np.flatnonzero(group_labels == label)
        groups = groups[np.argsort(first[groups])]
        held_out[_draw(groups, sizes, fraction, generator, images, int(label))] = True
    in_validation = held_out[group_of]
    return (
        TrainID(images.take(np.flatnonzero(~in_validation), "train")),
        ValidationID(images.take(np.flatnonzero(in_validation), "val_id")),
    )


def _draw(
    groups: npt.NDArray[np.intp],
    sizes: npt.NDArray[np.intp],
    fraction: float,
    generator: np.random.Generator,
    images: ImageSet,
    label: int,
) -> npt.NDArray[np.intp]:
    """Groups of one class for validation: the first of a permutation that reach the share."""
    if len(groups) < 2:
        name = images.classes[label] if images.classes else str(label)
        rule = f"class '{name}' of '{images.name}' has a single source image; a split needs two"
        raise BadInput(Fault("data.id", "", rule, "Add images of the class or remove it."))
    shuffled = generator.permutation(groups)
    wanted = fraction * sizes[groups].sum()
    reached = np.cumsum(sizes[shuffled])
    # the nearest count to the share: a group is taken while its middle lies before it
    count = int(np.sum(reached - sizes[shuffled] / 2 < wanted - 1e-9))
    return shuffled[: min(max(count, 1), len(groups) - 1)]
