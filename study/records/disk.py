"""Room on the disk: what says that there is none, sizes as text, and leftovers of the killed."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

from study.errors import NO_ROOM, StudyFailed

# Of libraries that keep the system's text and lose its number (Arrow, Ray), and of SQLite.
_TOLD = ("No space left on device", "Disk quota exceeded", "database or disk is full")
_UNITS: dict[str, int] = {"": 1, "B": 1} | {
    f"{letter}{binary}B": (1024 if binary else 1000) ** power
    for power, letter in enumerate("kMGT", start=1)
    for binary in ("", "i")
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")


class DiskFull(StudyFailed):
    """The study is paused for want of room on the disk; nothing is lost. Exit code 1."""


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, says that the disk is full."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in NO_ROOM:
            return True
        if any(text in str(seen) for text in _TOLD):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def parse_bytes(size: int | str) -> int:
    """A number of bytes from text such as ``2 GB`` (10^9) or ``500 MiB`` (2^20), or a number.

    Raises:
        ValueError: where it is no size above 0.
    """
    if isinstance(size, str):
        match = _SIZE.fullmatch(size.strip())
        units = {name.lower(): factor for name, factor in _UNITS.items()}
        if match is None or match[2].lower() not in units:
            raise ValueError(f"{size!r} is not a size such as 2 GB, 500 MiB or a number of bytes")
        number = int(float(match[1]) * units[match[2].lower()])
    else:
        number = size
    if number <= 0:
        raise ValueError("a size is above 0 bytes")
    return number


def bytes_text(size: int) -> str:
    """A size for people, in powers of 1000: ``1.5 GB``."""
    for unit in ("TB", "GB", "MB", "kB"):
        if size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.3g} {unit}"
    return f"{size} B"


def folder_bytes(folder: Path) -> int:
    """Bytes of all files under ``folder``, of a file its own; what vanishes counts nothing."""
    return sum(map(_size, (folder, *folder.rglob("*"))))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def take_away(path: Path) -> None:
    """Remove a file or a folder, whichever it is; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep_temporaries(folder: Path) -> int:
    """Remove half-written files and folders that killed processes left; gives their number.

    Only for a folder that nobody writes to now (its ledger is locked by the caller).
    """
    # As the writers of records, weights and checkpoints name them.
    patterns = (".*.tmp", "*/.*.tmp", "*/*/.*.tmp")
    found = [path for pattern in patterns for path in folder.glob(pattern)]
    for path in found:
        with suppress(OSError):
            take_away(path)
    return len(found)
