"""What the labels of the ID sets mean: classes by name, alike in train, validation and test.

A class is what has images. Where a set names its classes, labels are compared and mapped by name,
whatever numbers the set gives them; where it names none, a label's number is its name.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from study.counted import counted, some
from study.data.images import ImageSet
from study.errors import BadInput, Fault

_MOST_TOLD = 8


def names_of(images: ImageSet) -> tuple[str, ...]:
    """Names by label; the numbers themselves where the set has none."""
    return images.classes or tuple(map(str, range(int(images.labels.max()) + 1)))


def of_classes(images: ImageSet, only: Sequence[str], without: Sequence[str]) -> ImageSet:
    """The images of ``only`` these classes (all where it is empty) and none of ``without``.

    Raises:
        BadInput: naming every class that has no image.
    """
    if not only and not without:
        return images
    names = names_of(images)
    there = {names[label] for label in np.unique(images.labels) if label >= 0}
    faults = [_no_class(images, name, there) for name in (*only, *without) if name not in there]
    if faults:
        raise BadInput(faults)
    kept = [name for name in only or names if name not in without and name in there]
    return _mapped(images, names, kept)


def with_classes(images: ImageSet) -> tuple[ImageSet, list[str]]:
    """An ID training set whose labels count classes that all have images, and what was done.

    Raises:
        BadInput: for images without a label, or fewer than two classes.
    """
    num_unlabelled = int(np.sum(images.labels < 0))
    names = names_of(images)
    present = np.unique(images.labels[images.labels >= 0])
    if num_unlabelled or len(present) < 2:
        rule = (
            "the ID set needs a label for each image and images of each of two classes or more; "
            f"{num_unlabelled:,} of {len(images):,} images have no label, and the others are of "
            f"{counted(len(present), 'class', 'classes')}"
        )
        way_out = "Name a labelled set: class folders, or a column label."
        raise BadInput(Fault(images.provenance, "", rule, way_out))
    kept = [names[label] for label in present]
    alike = _alike(images.name, kept)
    if len(present) == len(names):
        return images, alike
    empty = [name for name in names if name not in set(kept)]
    told = f"'{images.name}' names classes without an image, left out: {_list(empty)}."
    return _mapped(images, names, kept), [*alike, *([told] if images.classes else [])]


def _alike(name: str, classes: Sequence[str]) -> list[str]:
    """What to say of classes whose names look alike, which may be meant as one."""
    folded = ["".join(unicodedata.normalize("NFKC", one).casefold().split()) for one in classes]
    counts = Counter(folded)
    twins = [one for one, plain in zip(classes, folded, strict=True) if counts[plain] > 1]
    told = f"'{name}' has classes whose names differ in case or spaces alone: {_list(twins)}."
    return [told] if twins else []


def like(images: ImageSet, classes: Sequence[str], train: str) -> tuple[ImageSet, list[str]]:
    """An ID set with labels that count the training set's classes, and what was done.

    Args:
        images: validation or test images.
        classes: the training set's, as `names_of` gives them.
        train: its name, for messages.

    Raises:
        BadInput: where both do not have images of the same classes.
    """
    names = names_of(images)
    there = {names[label] for label in np.unique(images.labels) if label >= 0}
    missing = [name for name in classes if name not in there]
    unknown = [name for name in names if name in there and name not in set(classes)]
    faults = []
    if int(images.labels.min()) < 0:
        rule = f"{int(np.sum(images.labels < 0)):,} images have no label"
        faults.append(Fault(images.provenance, "", rule, "Label them, or take them out."))
    if missing:
        rule = f"has no image of {_classes(missing)}, which '{train}' has"
        faults.append(Fault(images.provenance, "", rule, _SAME))
    if unknown:
        rule = f"has images of {_classes(unknown)}, which '{train}' has not"
        faults.append(Fault(images.provenance, "", rule, _SAME))
    if faults:
        raise BadInput(faults)
    if names == tuple(classes):
        return images, []
    mapped = _mapped(images, names, classes)
    if np.array_equal(mapped.labels, images.labels):
        return mapped, []
    told = f"'{images.name}' numbers its classes otherwise than '{train}': mapped by name."
    return mapped, [told]


_SAME = "Train, validation and test need images of the same classes, by the same names."


def _mapped(images: ImageSet, names: Sequence[str], kept: Sequence[str]) -> ImageSet:
    """The images of the classes ``kept``, whose places in it are the new labels."""
    place = {name: index for index, name in enumerate(kept)}
    number = np.array([place.get(name, -1) for name in names] + [-1], dtype=np.int64)
    labels = number[images.labels]
    renumbered = images.numbered(labels, kept)
    return renumbered if labels.min() >= 0 else renumbered.take(labels >= 0)


def _no_class(images: ImageSet, name: str, there: set[str]) -> Fault:
    near = difflib.get_close_matches(name, sorted(there), n=1)
    way_out = f"Did you mean '{near[0]}'?" if near else f"There are: {_list(sorted(there))}."
    return Fault("data.hold_out", "", f"no class of '{images.name}'", way_out, name)


def _classes(names: Sequence[str]) -> str:
    word = "class" if len(names) == 1 else f"{len(names)} classes"
    return f"{word} {_list(names)}"


def _list(names: Sequence[str]) -> str:
    return some([f"'{name}'" for name in names], _MOST_TOLD)
