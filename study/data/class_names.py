"""Does an outlier set hold the ID's classes? Told by what its class names mean.

A class is of an ID class where it is that thing, a kind of it, or something that it is a kind of
(`study.data.nouns`). What the ten classes of CIFAR-10 mean was reviewed against ImageNet's 1,000,
what those of CIFAR-100 mean against WordNet. A name that has no known meaning is told by its last
word ("my old car"), or told as not judged, as are sets that name no classes. Copies are the leak
check's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from study.counted import some
from study.data.images import ImageSet
from study.data.nouns import above, forms, nouns
from study.errors import BadInput, Fault

_MOST_TOLD: Final = 8
# ID class -> WordNet's ids of what it means, and of kinds of these that it does not hold. By
# CIFAR-10's own page its automobiles and trucks include no pickups; cats are those that people
# keep; whether vans and submarines belong people differ, so they do not.
_MEANINGS: Final = {
    "airplane": ("02691156 04552348", ""),
    "automobile": ("02958343", "02701002 03930630"),
    "bird": ("01503061", ""),
    "cat": ("02121808 02122948", ""),
    "deer": ("02430045", ""),
    "dog": ("02084071", ""),
    "frog": ("01639765 02469472", ""),
    "horse": ("02374451 02376542", ""),
    "ship": ("04530566", "04347754 04606251"),
    "truck": ("04490091", "03770679 03977966 03930630 03796401"),
    # Of CIFAR-100's names those whose most common sense is another thing.
    "aquariumfish": ("01443537", ""),
    "dolphin": ("02068974", ""),
    "mapletree": ("12752205", ""),
    "mouse": ("02330245", ""),
    "mushroom": ("07734744 12997919 13001041", ""),
    "ray": ("01495701", ""),
    "seal": ("02076196", ""),
    "shrew": ("01891633", ""),
    "turtle": ("01662784", ""),
    "whale": ("02062744", ""),
}
# Words whose most common sense is not what data sets mean by them: Places365's, and everyday's.
_SENSES: Final = {"chicken": "Gallus gallus", "galley": "kitchen", "lorry": "motortruck"}
# Not in WordNet, and no kind of their last word.
_SOUND_ALIKE: Final = frozenset(("corn dog", "ink jet", "sea dog", "fire dog", "toy car"))


# What stands about a name: a number of CUB's kind (`001.cat`, `cat_1`), a word in brackets.
_ABOUT: Final = re.compile(r"^\d+[._\- ]+(?=\D)|[._\- ]+\d+$|\s*\([^()]*\)")


@dataclass(frozen=True)
class _Judgement:
    """What class names of a set say.

    Attributes:
        found: place of a class -> the ID class that it is of.
        unknown: places of classes whose names say nothing, or two things.
    """

    found: dict[int, str]
    unknown: list[int]


@dataclass(frozen=True)
class _Kind:
    """One of the ID classes: its name and what it means."""

    name: str

    @cached_property
    def roots(self) -> frozenset[str]:
        """WordNet's ids of it."""
        return frozenset(_meant(self.name))

    @cached_property
    def less(self) -> frozenset[str]:
        """Kinds of it that it does not hold."""
        return frozenset(_MEANINGS.get(forms(self.name)[0], ("", ""))[1].split())

    @cached_property
    def above(self) -> frozenset[str]:
        """What it is a kind of, itself included."""
        return frozenset().union(*map(above, self.roots))

    def holds(self, one: str) -> bool:
        """Whether a thing is it, a kind of it, or something that it is a kind of."""
        over = above(one)
        return one in self.above or bool(over & self.roots and not over & self.less)


def id_classes_among(id_classes: Sequence[str], other_classes: Sequence[str]) -> dict[int, str]:
    """Which of ``other_classes`` (by index) name one of the ID's classes, and which one."""
    return _judged(id_classes, other_classes).found


def _judged(id_classes: Sequence[str], other_classes: Sequence[str]) -> _Judgement:
    kinds = [_Kind(name) for name in id_classes]
    found, unknown = {}, []
    for index, written in enumerate(other_classes):
        name = _ABOUT.sub("", written) or written
        answers = {_of(meaning, name, kinds) for meaning in _meanings(name, kinds)}
        if len(answers) != 1:
            unknown.append(index)
        elif id_class := answers.pop():
            found[index] = id_class
    return _Judgement(found, unknown)


def _meanings(name: str, kinds: Iterable[_Kind]) -> set[str]:
    """Ids of the things that a class name may mean, or the name where it is an ID class's own."""
    if any(forms(name)[0] == forms(kind.name)[0] for kind in kinds):
        return {name}
    found = set(_meant(name))
    if not found:
        words = re.sub(r"[\s_\-]+", " ", name.strip().lower()).split()
        single = len(words) < 2 or " ".join(words) in _SOUND_ALIKE
        return set() if single else set(_meant(words[-1]))
    # "plane" is a class of ImageNet's, a tool, and the common word for an ID class
    common = set(nouns().senses.get(forms(name)[0], ())[:1])
    return found | {one for one in common for kind in kinds if one in kind.roots}


def _meant(name: str) -> tuple[str, ...]:
    """Ids of what a name means: as reviewed above, or as WordNet has it."""
    own = forms(name)[0]
    if own in _MEANINGS:
        return tuple(_MEANINGS[own][0].split())
    return nouns().meant(_SENSES.get(own, name))


def _of(meaning: str, name: str, kinds: Iterable[_Kind]) -> str:
    """The ID class that a thing is of; empty for none."""
    for kind in kinds:
        if meaning == name and forms(name)[0] == forms(kind.name)[0]:
            return kind.name
    return next((kind.name for kind in kinds if meaning != name and kind.holds(meaning)), "")


def count_id_classes(id_classes: Sequence[str], images: ImageSet) -> dict[str, tuple[str, int]]:
    """Class name of ``images`` -> (the ID class that it names, number of images), if any."""
    counts = {}
    for index, id_class in id_classes_among(id_classes, images.classes).items():
        num_images = int(np.sum(images.labels == index))
        if num_images:
            counts[images.classes[index]] = (id_class, num_images)
    return counts


def checked_ood_set(
    images: ImageSet, id_classes: Sequence[str], place: str, policy: str
) -> tuple[ImageSet, str | None]:
    """Refuse or filter images that a set's own labels say are of an ID class.

    Args:
        images: an outlier or OOD set; without labels and class names nothing is known of it.
        id_classes: names of the ID classes.
        place: for messages, such as "data.outliers".
        policy: "refuse", "filter", or "tell": the lists of a published protocol stay as they are.

    Returns:
        The set, filtered where that was asked for, and a note that says so, and what could not
        be judged.

    Raises:
        BadInput: if there are such images and the policy is "refuse", or nothing else is left.
    """
    unjudged = _unjudged(images, id_classes)
    found = count_id_classes(id_classes, images)
    if not found:
        return images, unjudged
    told = ", ".join(
        f"'{name}' (ID class '{id_class}', {number} images)"
        for name, (id_class, number) in found.items()
    )
    if policy == "tell":
        kept = f"'{images.name}' holds ID classes, kept as it was published: {told}."
        return images, kept if unjudged is None else f"{kept} {unjudged}"
    if policy != "filter":
        rule = f"'{images.name}' holds ID classes: {told}"
        way_out = "Set data.outlier_id_classes: filter, or pick another set."
        raise BadInput(Fault(place, "", rule, way_out))
    outside = ~np.isin(images.labels, list(id_classes_among(id_classes, images.classes)))
    if not outside.any():
        rule = f"'{images.name}' holds nothing but ID classes: {told}"
        raise BadInput(Fault(place, "", rule, "Pick another set."))
    left_out = f"ID classes left out of '{images.name}': {told}."
    note = left_out if unjudged is None else f"{left_out} {unjudged}"
    return images.take(np.flatnonzero(outside)), note


def _unjudged(images: ImageSet, id_classes: Sequence[str]) -> str | None:
    """What is not known of a set's classes; None where all are judged, or nothing is named."""
    if images.codec == "rendered":  # made by the project: what it shows is known
        return None
    if not images.classes:
        return f"'{images.name}' names no classes: ID classes among them are not looked for."
    there = set(np.unique(images.labels).tolist())
    unknown = [i for i in _judged(id_classes, images.classes).unknown if i in there]
    if not unknown:
        return None
    return (
        f"Not judged whether '{images.name}' holds ID classes under names that say nothing, or "
        f"two things: {some([images.classes[index] for index in unknown], _MOST_TOLD)}."
    )
