"""study.records.disk: what says that there is no room, sizes as text, leftovers of the killed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from study.records.disk import (
    bytes_text,
    folder_bytes,
    is_disk_full,
    parse_bytes,
    sweep_temporaries,
)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        OSError(errno.EFBIG, os.strerror(errno.EFBIG)),
        RuntimeError("Arrow: [Errno 28] Error writing bytes. Detail: No space left on device"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_disk_full_is_seen_through_what_was_raised_from_it(error: Exception) -> None:
    assert is_disk_full(error)
    wrapped = ValueError("could not be saved")
    wrapped.__cause__ = error
    assert is_disk_full(wrapped)


@pytest.mark.parametrize(
    "error", [OSError(errno.EACCES, "Permission denied"), ValueError("disk"), MemoryError()]
)
def test_disk_full_is_not_seen_in_other_errors(error: Exception) -> None:
    assert not is_disk_full(error)


@pytest.mark.parametrize(
    ("size", "expected"),
    [("2 GB", 2 * 10**9), ("500 MiB", 500 * 2**20), ("1.5kB", 1500), ("12", 12), (7, 7)],
)
def test_parse_bytes_reads_units_of_1000_and_of_1024(size: int | str, expected: int) -> None:
    assert parse_bytes(size) == expected


@pytest.mark.parametrize("size", ["", "GB", "2 gigs", "-1 GB", "0", 0, "1e9", "2 GB 3"])
def test_parse_bytes_refuses_what_is_no_size(size: int | str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_bytes(size)


def test_bytes_text_takes_the_largest_unit() -> None:
    sizes = (999, 1500, 20 * 10**9)
    assert [bytes_text(size) for size in sizes] == ["999 B", "1.5 kB", "20 GB"]


def test_folder_bytes_counts_files_at_every_depth(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"123")
    (tmp_path / "two").write_bytes(b"45")
    assert folder_bytes(tmp_path) == 5
    assert folder_bytes(tmp_path / "none") == 0


def test_sweep_takes_what_was_half_written_and_nothing_else(tmp_path: Path) -> None:
    state = tmp_path / "checkpoints" / "00000" / ".epoch_0002.12.tmp"
    state.mkdir(parents=True)
    (state / "model.safetensors").write_bytes(b"half")
    scores = tmp_path / "scores"
    scores.mkdir()
    for name in (".00000.npz.7.tmp", "00000.npz"):
        (scores / name).write_bytes(b"x")
    (tmp_path / ".manifest.json.3.tmp").write_bytes(b"x")
    assert sweep_temporaries(tmp_path) == 3
    left = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["00000.npz"]
