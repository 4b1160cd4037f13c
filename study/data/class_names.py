"""Does an outlier set hold the ID's classes? Told by class names, with synonyms.

A name matches by the whole of it or by its last word ("sports car" is a car), after WordNet
ids, case, underscores and a plural s are taken off; names that only sound alike ("hot dog") are
listed. Names cannot find what a set does not name: copies are the leak check's business.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from study.data.images import ImageSet
from study.errors import BadInput, Fault

# Whatever stands in one group means the same ID class.
_SYNONYMS: tuple[frozenset[str], ...] = tuple(
    frozenset(group.split(", "))
    for group in (
        "airplane, aeroplane, plane, aircraft, airliner, jet, jetliner, warplane, biplane",
        "automobile, car, motorcar, auto, cab, taxi, convertible, sedan, limousine, limo, suv, "
        "jeep, minivan, racer, beach wagon, station wagon, estate car",
        "bird, cock, hen, finch, robin, jay, magpie, eagle, owl, parrot, ostrich, sparrow, "
        "hummingbird, goose, duck, swan, flamingo, pelican, penguin, heron, crane bird, toucan",
        "cat, kitten, tabby, tomcat, housecat, domestic cat, persian cat, siamese cat",
        "deer, stag, doe, fawn, elk, moose, reindeer, roe",
        "dog, puppy, hound, terrier, retriever, spaniel, poodle, collie, setter, beagle, boxer "
        "dog, chihuahua, pug, husky, dalmatian, sheepdog, schnauzer, corgi, dachshund",
        "frog, toad, bullfrog, tree frog, tailed frog",
        "horse, pony, stallion, mare, foal, sorrel",
        "ship, boat, vessel, ocean liner, liner, sailboat, speedboat, container ship, "
        "aircraft carrier, yacht, ferry, steamship, warship, lifeboat, gondola, schooner, yawl, "
        "catamaran, trimaran, canoe, fireboat",
        "truck, lorry, fire engine, garbage truck, trailer truck, tow truck, fire truck",
    )
)
# CIFAR-10's own page: neither its automobiles nor its trucks include pickup trucks.
_SOUND_ALIKE = frozenset(
    (
        *("hot dog", "corn dog", "prairie dog", "bear cat", "sea horse", "ink jet"),
        *("cable car", "railway car", "railroad car", "freight car", "passenger car"),
        *("space ship", "gravy boat", "blood vessel", "bin liner", "hand truck"),
        *("pickup", "pickup truck"),
    )
)


def id_classes_among(id_classes: Sequence[str], other_classes: Sequence[str]) -> dict[int, str]:
    """Which of ``other_classes`` (by index) name one of the ID's classes, and which one.

    Names of digits and the like match as a whole only; words match by their last word too.
    """
    meanings = {meaning: name for name in id_classes for meaning in _meanings(name)}
    found = {}
    for index, name in enumerate(other_classes):
        for variant in name.split(","):  # ImageNet's lists: "tench, Tinca tinca"
            plain = _plain(variant)
            head = plain.rsplit(" ", 1)[-1]
            matches = [meanings[form] for form in (plain, head) if form in meanings]
            if matches and plain not in _SOUND_ALIKE:
                found[index] = matches[0]
                break
    return found


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
        policy: "refuse" or "filter".

    Returns:
        The set, filtered where that was asked for, and a note that says so.

    Raises:
        BadInput: if there are such images and the policy is "refuse", or nothing else is left.
    """
    found = count_id_classes(id_classes, images)
    if not found:
        return images, None
    told = ", ".join(
        f"'{name}' (ID class '{id_class}', {number} images)"
        for name, (id_class, number) in found.items()
    )
    if policy != "filter":
        rule = f"'{images.name}' holds ID classes: {told}"
        way_out = "Set data.outlier_id_classes: filter, or pick another set."
        raise BadInput(Fault(place, "", rule, way_out))
    outside = ~np.isin(images.labels, list(id_classes_among(id_classes, images.classes)))
    if not outside.any():
        rule = f"'{images.name}' holds nothing but ID classes: {told}"
        raise BadInput(Fault(place, "", rule, "Pick another set."))
    return images.take(np.flatnonzero(outside)), f"ID classes left out of '{images.name}': {told}."


def _meanings(name: str) -> set[str]:
    plain = _plain(name)
    return {plain}.union(*(group for group in _SYNONYMS if plain in group))


def _plain(name: str) -> str:
    """Lower case, words apart, without a WordNet id and a plural s."""
    words = re.sub(r"^n\d{8}[_\- ]", "", name.strip().lower())
    words = re.sub(r"[\s_\-]+", " ", words).strip()
    singular = re.sub(r"(?<=[a-z]{2}[^s])s$", "", words)
    return singular
