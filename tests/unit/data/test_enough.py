from __future__ import annotations

import numpy as np
import pytest

from study.data.enough import check_enough, told_of_few
from study.data.images import ImageSet
from study.errors import BadInput
from tests.fake_data import image_set, noise


def _ood(num: int, crops: int = 1) -> ImageSet:
    groups = [f"source {row // crops}" for row in range(num)]
    return ImageSet.make("ood", noise(num), groups=groups)


@pytest.mark.parametrize("num", [2, 3, 5, 10, 20])
def test_sets_of_two_sources_or_more_are_enough(num: int) -> None:
    check_enough({"validation ID": image_set(num)}, {"OOD validation a": _ood(num)})


def test_sets_of_one_source_are_refused_all_at_once_with_the_number_needed() -> None:
    id_sets = {"validation ID": image_set(1, 1), "ID test": image_set(4)}
    ood = {"OOD validation a": _ood(8, crops=8), "OOD test b": _ood(1), "OOD test c": _ood(6)}
    with pytest.raises(BadInput, match="needs 2 sources") as caught:
        check_enough(id_sets, ood)
    keys = [fault.key for fault in caught.value.faults]
    assert keys == ["validation ID", "OOD validation a", "OOD test b"]
    assert "8 images of 1 source" in str(caught.value)


def test_small_sets_are_told_by_what_they_cannot_say() -> None:
    told = told_of_few({"validation ID": image_set(19)}, {"OOD validation a": _ood(72, crops=8)})
    assert ["keeps all of it" in one for one in told] == [True, False]
    assert "OOD validation a has 9 sources" in told[1]
    assert not told_of_few({"validation ID": image_set(20)}, {"a": _ood(10)})


def test_sources_are_counted_not_images() -> None:
    assert len(np.unique(_ood(24, crops=12).groups)) == 2
    check_enough({}, {"OOD validation a": _ood(24, crops=12)})


def test_copies_of_one_picture_are_one_source() -> None:
    copies = ImageSet.make("ood", np.repeat(noise(1), 40, axis=0))
    with pytest.raises(BadInput, match="40 images of 1 source"):
        check_enough({}, {"OOD validation a": copies})


def test_set_that_repeats_pictures_is_told_with_how_many_it_has() -> None:
    copies = ImageSet.make("ood", np.concatenate([noise(12), noise(3)]))
    (told,) = told_of_few({}, {"OOD validation a": copies})
    assert told.startswith("OOD validation a has 12 different pictures in 15 sources")
