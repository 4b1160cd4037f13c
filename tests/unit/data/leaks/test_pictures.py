from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from study.data.images import ImageSet
from study.data.leaks.check import check_leaks
from study.data.leaks.pictures import save_pairs
from study.data.leaks.report import Member
from study.errors import BadInput
from tests.pictures import photographs


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))


def test_picture_has_both_images_of_each_pair_side_by_side() -> None:
    first, second = photographs(3), photographs(4, 1, size=64)
    path = save_pairs(first, second, [(2, 3), (0, 1)])
    assert path is not None
    sheet = np.asarray(Image.open(path))
    assert np.array_equal(sheet[8:136:4, 8:136:4], first[2])
    assert np.array_equal(sheet[144:272:2, 144:272:2], second[1])


def test_found_pairs_are_drawn_and_go_into_the_runs_folder(tmp_path: Path) -> None:
    train, test = photographs(30), photographs(30, 1)
    test[3] = np.roll(train[10], 1, axis=1)
    members = [
        Member("train", ImageSet.make("train", train)),
        Member("id_test", ImageSet.make("test", test)),
    ]
    report, _ = check_leaks(members)
    run = tmp_path / "run"
    run.mkdir()
    report.copy_pictures(run)
    (told,) = report.to_json()["collisions"]
    assert told["picture"] == "leaks/train_id_test_near.png"
    sheet = np.asarray(Image.open(run / told["picture"]))
    assert np.array_equal(sheet[8:136:4, 8:136:4], train[10])
    assert np.array_equal(sheet[8:136:4, 144:272:4], test[3])


def test_pair_that_stops_the_study_is_told_with_its_picture() -> None:
    pixels = photographs(10)
    members = [
        Member("outliers", ImageSet.make("outliers", pixels)),
        Member("ood_test", ImageSet.make("test", pixels[3:4])),
    ]
    with pytest.raises(BadInput, match=r"side by side in (\S+\.png)\)") as caught:
        check_leaks(members)
    path = str(caught.value).partition("side by side in ")[2].partition(")")[0]
    with Image.open(path) as picture:
        assert picture.size == (280, 144)
