from __future__ import annotations

import numpy as np

from study.data.contradictions import contradictions
from study.data.images import ImageSet
from tests.fake_data import noise


def _set(name: str, labels: list[int], rows: list[int]) -> ImageSet:
    """Images of which those with one row are one picture."""
    ids = [f"{name}{place}.png" for place in range(len(rows))]
    return ImageSet.make(name, noise(8)[rows], labels=labels, ids=ids, classes=["cat", "dog"])


def test_one_picture_under_two_labels_is_told_with_its_images() -> None:
    assert contradictions([_set("a", [0, 1, 0, 1], [0, 1, 2, 0])]) == [
        "'a' has 1 picture under several labels (2 images): a0.png (cat) = a3.png (dog)."
    ]


def test_copies_under_one_label_are_no_contradiction() -> None:
    assert contradictions([_set("a", [0, 0, 1], [0, 0, 1])]) == []


def test_picture_under_another_label_in_validation_is_told_with_both_sets() -> None:
    (told,) = contradictions([_set("a", [0, 1], [0, 1]), _set("v", [1, 1], [0, 3])])
    assert told.startswith("'a' and 'v' have 1 picture under several labels (2 images): ")
    assert told.endswith("a: a0.png (cat) = v: v0.png (dog).")


def test_many_contradictions_are_counted() -> None:
    labels = np.arange(24) % 2
    pixels = noise(12).repeat(2, axis=0)
    (told,) = contradictions([ImageSet.make("a", pixels, labels=labels)])
    assert "12 pictures under several labels (24 images)" in told
    assert told.count(" = ") == 10
    assert told.endswith(" and 2 more.")


def test_picture_under_many_labels_is_told_with_the_first() -> None:
    (told,) = contradictions([ImageSet.make("a", noise(1).repeat(9, axis=0), labels=range(9))])
    assert told.endswith(": 000000 (0) = 000001 (1) = 000002 (2) = others.")
