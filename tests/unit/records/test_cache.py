"""study.records.cache: what may go, in which order, and what never does."""

import fcntl
import os
import time
from pathlib import Path

import pytest

from study.errors import BadInput
from study.records import cache
from study.records.cached import read_bytes, write_bytes

DAY = 86_400


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path))
    monkeypatch.delenv(cache.LIMIT, raising=False)
    return tmp_path


def put(path: Path, size: int, days_ago: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    when = time.time() - days_ago * DAY
    os.utime(path, (when, when))
    return path


def base(folder: Path, name: str, size: int, days_ago: float) -> Path:
    for file in ("base.json", "lock", "weights.safetensors"):
        put(folder / "bases" / name / file, size if file[0] == "w" else 0, days_ago)
    return folder / "bases" / name


def names() -> list[str]:
    return [entry.path.name for entry in cache.entries()]


def test_entries_are_told_the_least_recently_used_first(folder: Path) -> None:
    put(folder / "decoded" / "b.npy", 10, 1)
    put(folder / "leaks" / "pairs" / "c.png", 10, 2)
    base(folder, "a", 100, 3)
    put(folder / "features" / "d.lock", 0, 9)
    assert [(one.kind, one.path.name, one.num_bytes) for one in cache.entries()] == [
        ("bases", "a", 100),
        ("leaks", "c.png", 10),
        ("decoded", "b.npy", 10),
    ]
    assert [one.kind for one in cache.entries("leaks")] == ["leaks"]


def test_reading_makes_an_entry_the_most_recently_used(folder: Path) -> None:
    for name in ("one", "two"):
        write_bytes(folder / "leaks" / name, b"content")
        os.utime(folder / "leaks" / name, (0, 0))
    assert read_bytes(folder / "leaks" / "one") == b"content"
    assert names() == ["two", "one"]
    assert (folder / "leaks" / "one").stat().st_mtime == 0


def test_trimming_takes_what_was_least_recently_used_until_it_fits(folder: Path) -> None:
    for age, name in enumerate(("new", "old", "older")):
        put(folder / "decoded" / f"{name}.npy", 10, age)
    gone = cache.trim(20)
    assert [one.path.stem for one in gone] == ["older"]
    assert names() == ["old.npy", "new.npy"]
    cache.trim(5, but=folder / "decoded" / "old.npy")
    assert names() == ["old.npy"]


def test_base_in_training_stays(folder: Path) -> None:
    path = base(folder, "a", 100, 300)
    with (path / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cache.trim(0) == []
        put(path / ".epoch_0001.7.tmp", 5, 300)
        assert cache.sweep() == 0
    assert [one.path for one in cache.trim(0)] == [path]
    assert not path.exists()


def test_write_keeps_the_cache_within_its_limit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.LIMIT, "1 kB")
    put(folder / "decoded" / "old.npy", 700, 5)
    write_bytes(folder / "leaks" / "new", b"x" * 500)
    assert names() == ["new"]
    write_bytes(folder / "leaks" / "larger", b"x" * 5000)
    assert names() == ["larger"]


@pytest.mark.parametrize("told", ["much", "-3", "0", "5 EB"])
def test_limit_that_is_no_size_is_refused(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LIMIT, told)
    with pytest.raises(BadInput, match=cache.LIMIT):
        cache.limit()


def test_write_takes_nothing_away_where_other_things_lie_beside(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder / "features" / "measured for weeks.npy", 100, 9)
    put(folder / "paper.tex", 1, 9)
    monkeypatch.setenv(cache.LIMIT, "10")
    write_bytes(folder / "leaks" / "new", b"content")
    assert names() == ["measured for weeks.npy", "new"]
    with pytest.raises(BadInput, match=r"other things too \(paper\.tex\)"):
        cache.limit()


def test_sweep_takes_what_the_killed_left_and_nothing_that_is_being_written(folder: Path) -> None:
    left = put(folder / "decoded" / ".a.npy.1.tmp", 5, 1)
    young = put(folder / "decoded" / ".b.npy.1.tmp", 5, 0)
    held = put(folder / "features" / ".c.npy.1.tmp", 5, 1)
    of_base = base(folder, "a", 1, 1) / ".epoch_0001.1.tmp"
    put(of_base / "model", 5, 1)
    os.utime(of_base, (0, 0))
    lock = put(folder / "features" / "gone.lock", 0, 1)
    with held.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert cache.sweep() == 2
    there = [one.exists() for one in (left, young, held, of_base, lock)]
    assert there == [False, True, True, False, False]


def test_entry_is_told_in_words(folder: Path) -> None:
    path = base(folder, "a", 1, 0)
    (path / "base.json").write_text(
        '{"backbone": "resnet20", "train": {"epochs": 3}, "seed": 7, "key": "a"}'
    )
    (found,) = cache.entries()
    assert cache.what_is(found) == "resnet20, 3 epochs, seed 7"
    (path / "base.json").write_text("[]")
    assert cache.what_is(found) == ""
    (path / "base.json").unlink()
    assert cache.what_is(found) == "its training was cut off, or goes on"


def test_lock_that_is_a_folder_is_taken_away(folder: Path) -> None:
    lock = folder / "bases" / "a" / "lock"
    lock.mkdir(parents=True)
    with cache.alone(lock):
        assert lock.is_file()
