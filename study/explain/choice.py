"""Which validation images are explained: a seeded rule that no model takes part in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from study.data.images import NO_LABEL, ImageSet, Pixels, Rows
from study.records.files import VAL_ID
from study.seeding import numpy_generator


@dataclass(frozen=True, eq=False)
class ChosenImages:
    """Images of one validation set, each with the ID image that it is compared with.

    Attributes:
        name: of the set, ``VAL_ID`` for the ID images.
        images: N of its images.
        id_images: the ID validation images.
        partners: row of the one that each image is compared with, shape (N,).
    """

    name: str
    images: ImageSet
    id_images: ImageSet
    partners: Rows

    def __len__(self) -> int:
        return len(self.images)

    @property
    def is_id(self) -> bool:
        """Whether these are ID images."""
        return self.name == VAL_ID

    @property
    def partner_pixels(self) -> Pixels:
        """The partners, uint8, shape (N, H, W, 3)."""
        return self.id_images.pixels[self.partners]

    def first(self, count: int) -> ChosenImages:
        """The first ``count`` of them."""
        rows = np.arange(min(count, len(self)))
        return replace(self, images=self.images.take(rows), partners=self.partners[rows])


def choose_images(
    val_id: ImageSet, ood_sets: Mapping[str, ImageSet], count: int, seed: int
) -> dict[str, ChosenImages]:
    """``count`` images of the ID set and of each OOD set, or all where there are fewer.

    ID: the classes take turns, each in an order drawn from ("saliency", "val_id"). OOD: the first
    of a permutation from ("saliency", set). A smaller count is the beginning of a larger one.
    Partners are ID images: for every second ID image, the first included, another one of its own
    class, else one of another class; for an OOD image any.

    Args:
        val_id: ID validation images, labelled.
        ood_sets: OOD validation sets by name.
        count: N, at least 1.
        seed: of the draws.
    """
    sets = {VAL_ID: (val_id, _by_class(val_id, count, seed))}
    for name, images in ood_sets.items():
        order = numpy_generator(seed, "saliency", name).permutation(len(images))
        sets[name] = (images, order[:count])
    return {
        name: ChosenImages(
            name, images.take(rows), val_id, _partners(name, images, rows, val_id, seed)
        )
        for name, (images, rows) in sets.items()
    }


def _by_class(images: ImageSet, count: int, seed: int) -> Rows:
    order = numpy_generator(seed, "saliency", VAL_ID).permutation(len(images))
    turn = np.empty(len(images), dtype=np.int64)  # how many of its class come before an image
    for label in np.unique(images.labels):
        of_class = order[images.labels[order] == label]
        turn[of_class] = np.arange(len(of_class))
    rows: Rows = np.lexsort((images.labels, turn))[:count]
    return rows


def _partners(name: str, images: ImageSet, rows: Rows, val_id: ImageSet, seed: int) -> Rows:
    generator = numpy_generator(seed, "saliency partners", name)
    partners = []
    for position, row in enumerate(rows):
        allowed = np.ones(len(val_id), dtype=bool)
        if name == VAL_ID:
            same = val_id.labels == images.labels[row]
            alike = same & (np.arange(len(val_id)) != row)
            allowed = alike if position % 2 == 0 and alike.any() else ~same
        partners.append(generator.choice(np.flatnonzero(allowed)))
    return np.array(partners, dtype=np.int64)


def class_name(names: tuple[str, ...], label: int) -> str:
    """What a picture calls a class; empty where there is none."""
    if label == NO_LABEL:
        return ""
    return names[label].replace("_", " ") if names else f"class {label}"
