"""Whether the sets that a study is measured on have images enough to say anything.

Asked once all of them are read and leaking images are dropped: before anything is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from study.counted import counted
from study.data.images import ImageSet, picture_hashes
from study.errors import BadInput, Fault

LEAST_SOURCES = 2
"""Sources of each set: of one alone no resample differs and no half is left to judge by, so that
neither an interval nor a correction for having been the best can be had."""
RECALLED = 20
"""ID images under which 95 % of them are all of them: the threshold is then the highest score."""
TELLING = 10
"""Sources under which an interval says little."""


def check_enough(id_sets: Mapping[str, ImageSet], ood_sets: Mapping[str, ImageSet]) -> None:
    """Refuse sets that are too small to measure on.

    Args:
        id_sets: role -> ID images that thresholds and accuracies are measured on.
        ood_sets: role and name -> OOD images.

    Raises:
        BadInput: naming every set of too few sources, and how many it needs.
    """
    faults = [
        Fault(
            "data",
            role,
            f"{counted(len(images), 'image')} of {counted(num, 'source')}, and a set to measure "
            f"on needs {LEAST_SOURCES} sources: of one alone no interval can be had",
            "Add images, name another set, or (validation ID) raise data.val_fraction.",
        )
        for role, images in {**id_sets, **ood_sets}.items()
        if (num := _sources(images)) < LEAST_SOURCES
    ]
    if faults:
        raise BadInput(faults)


def told_of_few(id_sets: Mapping[str, ImageSet], ood_sets: Mapping[str, ImageSet]) -> list[str]:
    """Sentences about sets that are small, but not too small; arguments as ``check_enough``'s."""
    sets = {**id_sets, **ood_sets}
    return [*_few_recalled(id_sets), *_few_sources(sets), *_repeating(sets)]


def _few_recalled(id_sets: Mapping[str, ImageSet]) -> Iterator[str]:
    for role, images in id_sets.items():
        if len(images) < RECALLED:
            yield (
                f"{role} has {counted(len(images), 'image')}: with fewer than {RECALLED} the "
                "threshold that keeps 95 % of ID keeps all of it, so FPR95 is the share of OOD "
                "under the highest ID score"
            )


def _few_sources(sets: Mapping[str, ImageSet]) -> Iterator[str]:
    for role, images in sets.items():
        if (num := _sources(images)) < TELLING:
            yield (
                f"{role} has {counted(num, 'source')}: intervals over fewer than {TELLING} are "
                "wide, and so is what separates one trial from another"
            )


def _repeating(sets: Mapping[str, ImageSet]) -> Iterator[str]:
    for role, images in sets.items():
        num_sources = len(np.unique(images.groups))
        num_pictures = len(np.unique(picture_hashes(images.pixels)))
        if num_pictures < num_sources:
            yield (
                f"{role} has {counted(num_pictures, 'different picture')} in {num_sources:,} "
                "sources: each copy counts, and intervals take it for a source of its own"
            )


def _sources(images: ImageSet) -> int:
    """Number of sources; copies of one picture are one."""
    pixels = images.pixels
    if all(np.array_equal(pixels[0], other) for other in pixels[1:]):
        return 1
    return len(np.unique(images.groups))
