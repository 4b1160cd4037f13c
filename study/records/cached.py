"""One file of the cache: written with a checksum, checked when it is read, held while it is used.

The checksum is a CRC-32 of all that comes before it, in the file's last bytes: it finds every
flipped bit and every cut, at several GB/s (`benchmarks/cache.py`), so that every process can check
what it maps. It guards against disks and accidents, not against who means to deceive.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from study.locks import take_lock
from study.records.cache import TEMPORARY, clear_way, make_folder, note_use, tell, tidy

Array = NDArray[Any]
_LENGTH = len("\ncrc32:00000000\n")
_PART = 1 << 24
_DAMAGED = (
    "its checksum is not that of its content (it was damaged, or is of an older version); it is "
    "made anew"
)
_held: dict[tuple[int, int, int, int], IO[bytes]] = {}
"""What tells one content from another -> the open file, checked, whose lock holds it."""


def load_array(path: Path) -> Array | None:
    """An array of the cache, mapped and read-only; nobody takes it away while this process lives.

    Returns:
        None where there is none, or a damaged one, which is told on stderr.
    """
    file = _checked(path)
    if file is None:
        return None
    try:
        return _mapped(file)
    except (OSError, ValueError, EOFError):
        tell(f"{path}: {_DAMAGED}")
        return None


def read_bytes(path: Path) -> bytes | None:
    """A small file of the cache; None where there is none, or a damaged one, which is told."""
    file = _checked(path, hold=False)
    if file is None:
        return None
    with file:
        return file.read()[:-_LENGTH]


def save_array(path: Path, array: Array) -> None:
    """Keep an array; other processes see all of it or nothing (OSError where it cannot be)."""
    with _placing(path) as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)


def fill_array(
    path: Path, kind: DTypeLike, shape: tuple[int, ...], fill: Callable[[Array], None]
) -> None:
    """Keep an array that ``fill`` computes on the disk, where it may be larger than the memory.

    Raises:
        OSError: where it cannot be kept, before ``fill`` is asked where the disk has no room.
    """
    dtype = np.dtype(kind)
    with _placing(path) as file:
        header = np.lib.format.header_data_from_array_1_0(np.empty((0,), dtype))
        np.lib.format.write_array_header_1_0(file, header | {"shape": shape})
        start = file.tell()
        size = start + dtype.itemsize * int(np.prod(shape))
        if sys.platform == "linux":
            # Now, and not page by page: a map that finds the disk full ends the process (SIGBUS).
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        file.flush()
        array = np.memmap(file, dtype, "r+", start, shape)
        fill(array)
        array.flush()


def write_bytes(path: Path, content: bytes) -> None:
    """Keep a small file; other processes see all of it or nothing (OSError where not)."""
    with _placing(path) as file:
        file.write(content)


@contextmanager
def _placing(path: Path) -> Iterator[IO[bytes]]:
    """A file of another name, locked, that gets its checksum and takes the place of ``path``."""
    make_folder(path.parent)
    clear_way(path, folder=False)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with temporary.open("w+b") as file:
            take_lock(file.fileno(), wait=True)
            yield file
            file.flush()
            file.seek(0)
            file.write(_seal(_sum(file, os.fstat(file.fileno()).st_size)))
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    tidy(path)


def _checked(path: Path, *, hold: bool = True) -> IO[bytes] | None:
    """The file, open at its beginning, locked against removal; None where it may not be used."""
    try:
        file = path.open("rb")
    except OSError:
        return None  # whoever makes it anew clears the way
    try:
        take_lock(file.fileno(), wait=False, shared=True)
        found = os.fstat(file.fileno())
        mark = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if mark not in _held and not _is_whole(file, found.st_size):
            tell(f"{path}: {_DAMAGED}")
            file.close()
            return None
    except OSError:  # it is being taken away
        file.close()
        return None
    note_use(path)
    if not hold:
        return file
    held = _held.setdefault(mark, file)
    if held is not file:
        file.close()
    return held


def _is_whole(file: IO[bytes], size: int) -> bool:
    if size < _LENGTH:
        return False
    found = _sum(file, size - _LENGTH)
    whole = file.read() == _seal(found)
    file.seek(0)
    return whole


def _sum(file: IO[bytes], length: int) -> int:
    """CRC-32 of the next ``length`` bytes."""
    found = 0
    while length and (part := file.read(min(_PART, length))):
        found = zlib.crc32(part, found)
        length -= len(part)
    return found


def _seal(found: int) -> bytes:
    return b"\ncrc32:%08x\n" % found


def _mapped(file: IO[bytes]) -> Array:
    """The array of a .npy file that is open; a plain one, which pickles out of band."""
    file.seek(0)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("another version of .npy")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject or fortran:
        raise ValueError("not an array that is written here")
    return np.asarray(np.memmap(file, dtype, "r", file.tell(), shape))
