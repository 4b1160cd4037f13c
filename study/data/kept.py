"""The part of validation that is kept for confirmation alone: cut off by source beforehand.

Search, calibration and selection see what is left; confirming runs are scored on the kept part
too, and ranked by it. Nothing is trained, fitted or stopped by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from study.counted import counted
from study.data.images import ImageSet
from study.data.roles import KeptPart, OODValidation, ValidationID
from study.errors import BadInput, Fault, gathered
from study.seeding import numpy_generator, seed_of

STREAM = "confirm"
LEAST_SOURCES = 2  # of each set on either side: intervals are over sources
Rows = npt.NDArray[np.intp]
Make = Callable[[ImageSet, int], ImageSet]
"""Validation ID images and a seed -> a synthetic set made from them."""


def keep_part(
    val_id: ImageSet,
    ood: Mapping[str, ImageSet],
    fraction: float,
    seed: int,
    made: Mapping[str, Make] | None = None,
) -> tuple[ValidationID, OODValidation, KeptPart]:
    """Cut the validation sets in two; no source image has images on both sides.

    Images are of one source where they share a named source group, in one set or in two, or are
    equal to the pixel. Validation ID is stratified by class. Each set is drawn from its own
    stream ("confirm", set); rows keep their order. Synthetic sets are not cut but made anew on
    either side from the validation ID images there.

    Args:
        val_id: validation ID images.
        ood: the OOD validation sets, in order.
        fraction: share of each set's images that is kept, in (0, 1).
        seed: of the streams.
        made: how to make the sets of ``ood`` that are synthetic.

    Returns:
        What the search sees of validation ID and OOD, and what is kept.

    Raises:
        BadInput: naming every set that has too few sources.
    """
    made = made or {}
    cut = {"val_id": val_id, **{name: one for name, one in ood.items() if name not in made}}
    sides = _sides(list(cut.values()), list(cut), fraction, seed)
    first, kept = (
        {
            name: images.take(side == of)
            for (name, images), side in zip(cut.items(), sides, strict=True)
        }
        for of in (False, True)
    )
    fresh = seed_of(seed, STREAM, "synthetic")  # the same noise twice would be on both sides
    for name, make in made.items():
        first[name], kept[name] = make(first["val_id"], seed), make(kept["val_id"], fresh)
    return (
        ValidationID(first["val_id"]),
        OODValidation({name: first[name] for name in ood}),
        KeptPart(kept["val_id"], {name: kept[name] for name in ood}),
    )


def _sides(
    sets: Sequence[ImageSet], names: Sequence[str], fraction: float, seed: int
) -> list[npt.NDArray[np.bool_]]:
    """Which images of each set are kept; the first set is the labelled one."""
    sources = source_numbers(sets)
    decided: dict[int, bool] = {}
    sides: list[npt.NDArray[np.bool_]] = []
    faults: list[Fault] = []
    for images, name, source in zip(sets, names, sources, strict=True):
        generator = numpy_generator(seed, STREAM, name)
        labels = images.labels if not sides else np.zeros(len(images), dtype=np.int64)
        with gathered(faults):
            _decide(source, labels, fraction, generator, decided, name)
        sides.append(np.array([decided.get(one, False) for one in source.tolist()]))
    if faults:
        raise BadInput(faults)
    return sides


def source_numbers(sets: Sequence[ImageSet]) -> list[Rows]:
    """A number of its source for every image of every set, the same number for the same source.

    A group that some row names (its group is not its own id) is one source in all sets; that two
    images have the same name says nothing. Equal pixels are one source too.
    """
    from scipy.sparse import coo_array  # of use to few studies
    from scipy.sparse.csgraph import connected_components

    named: set[bytes] = set()
    for images in sets:
        named.update(images.groups[images.groups != images.ids].tolist())
    keys: dict[tuple[int, bytes], int] = {}
    first, second, row = [], [], 0
    for place, images in enumerate(sets):
        for group, pixels in zip(images.groups.tolist(), images.pixels, strict=True):
            for key in ((-1 if group in named else place, group), (-2, pixels.tobytes())):
                first.append(row)
                second.append(keys.setdefault(key, len(keys)))
            row += 1
    size = row + len(keys)
    links = coo_array((np.ones(len(first)), (first, row + np.array(second))), shape=(size, size))
    _, component = connected_components(links, directed=False)
    ends = np.cumsum([len(images) for images in sets])
    return [np.asarray(part) for part in np.split(component[:row], ends[:-1])]


def _decide(
    source: Rows,
    labels: npt.NDArray[np.int64],
    fraction: float,
    generator: np.random.Generator,
    decided: dict[int, bool],
    name: str,
) -> None:
    """Give every source of a set its side, in place; those of earlier sets have theirs."""
    each, first, sizes = np.unique(source, return_index=True, return_counts=True)
    order = np.argsort(first)  # the draw depends on the rows' order, not on the numbers
    each, sizes, label_of = each[order], sizes[order], labels[first[order]]
    for label in np.unique(label_of):
        rows = np.flatnonzero(label_of == label)
        if len(rows) < 2 * LEAST_SOURCES:
            raise BadInput(_too_few(name, int(label), len(rows), len(np.unique(label_of))))
        known = [row for row in rows.tolist() if int(each[row]) in decided]
        there = sum(int(sizes[row]) for row in known if decided[int(each[row])])
        free = np.setdiff1d(rows, known)
        shuffled = generator.permutation(free)
        reached = there + np.cumsum(sizes[shuffled])
        # the nearest count to the share: a source is taken while its middle lies before it
        wanted = fraction * sizes[rows].sum()
        count = int(np.sum(reached - sizes[shuffled] / 2 < wanted - 1e-9))
        num_kept = sum(decided[int(each[row])] for row in known)
        least = LEAST_SOURCES - num_kept
        most = len(free) - LEAST_SOURCES + (len(known) - num_kept)
        if not max(least, 0) <= min(most, len(free)):
            raise BadInput(_too_few(name, int(label), len(rows), len(np.unique(label_of))))
        count = int(np.clip(count, max(least, 0), min(most, len(free))))
        for place, row in enumerate(shuffled.tolist()):
            decided[int(each[row])] = place < count


def _too_few(name: str, label: int, num: int, num_labels: int) -> Fault:
    what = f"class {label} of '{name}'" if num_labels > 1 else f"'{name}'"
    rule = (
        f"{what} has {counted(num, 'source image')} to cut in two; each part needs "
        f"{LEAST_SOURCES}, which no other set has on the other side"
    )
    way_out = "Give more images, name another set, or set data.confirm_fraction: 0."
    return Fault("data.confirm_fraction", name, rule, way_out)
