"""python -m study.cache: the caches listed and cleared."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from study.cache import main
from study.records.cache import LIMIT
from study.records.cached import load_array, save_array, write_bytes

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(LIMIT, raising=False)
    save_array(tmp_path / "cache" / "decoded" / "one.npy", np.zeros((1000, 2, 2, 3), np.uint8))
    write_bytes(tmp_path / "cache" / "leaks" / "two", b"content")
    return tmp_path / "cache"


def there(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_list_tells_kind_size_use_and_what_it_is(folder: Path, capsys: Capture) -> None:
    assert main([]) == 0
    told = capsys.readouterr().out
    assert "decoded     12.1 kB  1: images of Parquet files" in told
    assert f"{time.strftime('%Y-%m-%d')}" in told
    assert "one.npy  1,000 x 2 x 2 x 3" in told
    assert told.splitlines()[-1] == f"{folder}: 12.2 kB"


def test_clear_takes_away_one_kind(folder: Path, capsys: Capture) -> None:
    assert main(["--clear", "leaks"]) == 0
    assert "taken away: 1 entry, 23 B" in capsys.readouterr().out
    assert there(folder) == ["one.npy"]
    assert main(["--clear", "all"]) == 0
    assert there(folder) == []


def test_older_than_takes_away_what_was_not_used_for_so_long(folder: Path) -> None:
    os.utime(folder / "leaks" / "two", (0, 0))
    assert main(["--older-than", "30d", "--clear", "decoded"]) == 0
    assert there(folder) == ["one.npy", "two"]
    assert main(["--older-than", "30d"]) == 0
    assert there(folder) == ["one.npy"]


def test_at_most_takes_away_the_least_recently_used(folder: Path, capsys: Capture) -> None:
    os.utime(folder / "decoded" / "one.npy", (0, 0))
    assert main(["--at-most", "5 kB"]) == 0
    assert "taken away: 1 entry, 12.1 kB" in capsys.readouterr().out
    assert there(folder) == ["two"]


def test_what_is_in_use_stays_and_is_told(folder: Path, capsys: Capture) -> None:
    kept = load_array(folder / "decoded" / "one.npy")
    assert kept is not None
    assert main(["--clear", "all"]) == 0
    assert "in use, stays: 1 entry, 12.1 kB" in capsys.readouterr().out
    assert there(folder) == ["one.npy"]


@pytest.mark.parametrize(
    "arguments", [["--clear", "everything"], ["--older-than", "soon"], ["--at-most", "-1"]]
)
def test_what_is_not_understood_exits_2(arguments: list[str], folder: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert len(there(folder)) == 2


def test_file_in_place_of_the_folder_and_a_bad_limit_are_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "file"))
    assert main([]) == 2
    assert "is a file, not a folder. Set OOD_STUDY_CACHE" in capsys.readouterr().err
    monkeypatch.setenv(LIMIT, "much")
    assert main([]) == 2
    assert f"{LIMIT}: 'much' is not a size" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--clear", "all"], ["--at-most", "1"]])
def test_nothing_is_taken_away_where_other_things_lie_beside(
    arguments: list[str], folder: Path, capsys: Capture
) -> None:
    (folder / "my thesis").mkdir()
    assert main(arguments) == 2
    assert (
        "holds other things too (my thesis), so nothing is taken away" in capsys.readouterr().err
    )
    assert there(folder) == ["one.npy", "two"]
    assert main([]) == 0


def test_empty_cache_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv(LIMIT, "1 GB")
    assert main([]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'none'}: 0 B, at most 1 GB by {LIMIT}\n"
