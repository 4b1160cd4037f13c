"""One process at a time, by a lock on an open file: flock, or what Windows has in its place."""

from __future__ import annotations

import os
import sys

_FAR = 1 << 30  # Windows locks bytes, and others may read those before this one


def take_lock(descriptor: int, *, wait: bool, shared: bool = False) -> None:
    """Lock an open file for this process alone; closing it lets go.

    Args:
        descriptor: of the file, open for writing.
        wait: for a lock that another process holds.
        shared: with others that lock it so; Windows has no such lock, and locks it alone.

    Raises:
        BlockingIOError: where another process holds it and ``wait`` is not set.
        OSError: where the file system has no locks.
    """
    if sys.platform == "win32":
        import msvcrt

        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            while True:
                try:
                    msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
                    return
                except OSError as error:  # LK_LOCK gives up after ten seconds
                    if not wait:
                        raise BlockingIOError(error.errno, error.strerror) from error
        finally:
            os.lseek(descriptor, place, os.SEEK_SET)
    else:
        import fcntl

        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind | (0 if wait else fcntl.LOCK_NB))


def sync_path(path: str | os.PathLike[str]) -> None:
    """Bring a file that was written, or the names in a folder, to the disk.

    Windows has no way to ask that of a folder, or of a file opened to be read: it is left to it.
    """
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
