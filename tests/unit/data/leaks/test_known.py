from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from study.data.images import ImageSet
from study.data.leaks import check
from study.data.leaks.check import check_leaks
from study.data.leaks.report import Member
from tests.pictures import photographs


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))


def _members() -> list[Member]:
    train, test = photographs(60), photographs(60, 1)
    test[3], test[5] = train[10], train[20][:, ::-1]
    return [
        Member("train", ImageSet.make("train", train, labels=np.arange(60) % 3)),
        Member("val_id", ImageSet.make("val", photographs(40, 2))),
        Member("id_test", ImageSet.make("test", test)),
    ]


def _nobody_looks(*_: object) -> None:
    raise AssertionError("the pictures were compared again")


def test_second_check_of_the_same_sets_does_not_look_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, dropped = check_leaks(_members(), leaks="drop")
    monkeypatch.setattr(check, "find_near_duplicates", _nobody_looks)
    again, dropped_again = check_leaks(_members(), leaks="drop")
    assert again.collisions == first.collisions
    assert {c.kind: (c.num_weaker, c.examples) for c in again.collisions} == {
        "exact": (1, (("000010", "000003"),)),
        "near": (1, (("000020", "000005"),)),
    }
    assert {k: v.tolist() for k, v in dropped_again.items()} == {
        k: v.tolist() for k, v in dropped.items()
    }


def test_other_pixels_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    check_leaks(_members(), leaks="drop")
    members = _members()
    members[1] = Member("val_id", ImageSet.make("val", photographs(40, 3)))
    monkeypatch.setattr(check, "find_near_duplicates", _nobody_looks)
    with pytest.raises(AssertionError):
        check_leaks(members, leaks="drop")


def test_damaged_entry_is_made_anew(tmp_path: Path) -> None:
    first, _ = check_leaks(_members(), leaks="drop")
    for entry in (tmp_path / "cache" / "leaks").glob("*.npz"):
        entry.write_bytes(b"torn")
    assert check_leaks(_members(), leaks="drop")[0].collisions == first.collisions


def test_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "file"))
    report, _ = check_leaks(_members(), leaks="drop")
    assert [found.picture for found in report.collisions] == [None, None]
