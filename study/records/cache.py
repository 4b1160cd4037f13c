"""The cache as a whole: what is in it, what may go, and how large it may grow.

What is in it can be made again: bases (the dear part), decoded images, features of frozen
backbones, results of leak checks. An entry is a file, or of bases a folder, in the folder of its
kind; its access time, which readers set, says when it was last used. Whoever uses one, or makes
it, holds a lock on it, and nothing that is held is taken away. Knows neither torch nor Ray.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from study.errors import BadInput, Fault
from study.locks import take_lock
from study.records.disk import folder_bytes, parse_bytes, take_away
from study.records.home import own_folder

SPEEDS = "speeds"
KINDS = {
    "bases": "trained classifiers that studies start from",
    "decoded": "images of Parquet files and folders as arrays",
    "features": "of frozen backbones, for linear fine-tuning",
    "evaluations": "scores of bases on validation images",
    "logits": "of bases on the images that margins are measured by",
    "leaks": "what leak checks found, and pairs as pictures",
    SPEEDS: "how fast trials were in the probes of forecasts",
    "weights_that_do_not_fit": "lists of tensors that messages name",
}
"""Folder in the cache -> what it holds."""
LIMIT = "OOD_STUDY_CACHE_SIZE"
"""Environment variable: the most that the cache may hold, such as ``20 GB``."""
LOCK = "lock"  # of a base's folder; beside a file it is a suffix
TEMPORARY = ".tmp"
_YOUNG_S = 60.0  # a temporary file may not be locked yet by who has just made it


def cache_folder() -> Path:
    """``$OOD_STUDY_CACHE``, or ``~/.cache/ood-study``; it may not exist yet.

    Raises:
        BadInput: as `own_folder`.
    """
    return own_folder("OOD_STUDY_CACHE", ".cache/ood-study")


@dataclass(frozen=True)
class Entry:
    """One thing in the cache.

    Attributes:
        kind: of `KINDS`.
        path: its file, or folder.
        num_bytes: on the disk.
        used: when it was last used, seconds since 1970.
    """

    kind: str
    path: Path
    num_bytes: int
    used: float


def entries(kind: str = "") -> list[Entry]:
    """What the cache holds, the least recently used first.

    Args:
        kind: of `KINDS`; all where empty.
    """
    found: list[Entry] = []
    for name in [kind] if kind else KINDS:
        for path in _paths(cache_folder() / name):
            with suppress(OSError):  # it went meanwhile
                found.append(Entry(name, path, folder_bytes(path), _used(path)))
    return sorted(found, key=lambda one: (one.used, str(one.path)))


def _paths(folder: Path) -> Iterator[Path]:
    """Of a kind: its files, those in folders below as well; of bases the folders."""
    if folder.name == "bases":
        yield from (path for path in folder.glob("*") if path.is_dir())
        return
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in (f".{LOCK}", TEMPORARY):
            yield path


def _used(path: Path) -> float:
    """The newest access to it, or to a file in it."""
    return max(one.stat().st_atime for one in ([*path.glob("*")] or [path]))


def what_is(entry: Entry) -> str:
    """An entry in a few words, as far as its file tells; empty where it does not."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        if entry.kind == "bases":
            record = entry.path / "base.json"
            if not record.exists():
                return "its training was cut off, or goes on"
            told = json.loads(record.read_text())
            return f"{told['backbone']}, {told['train']['epochs']} epochs, seed {told['seed']}"
        if entry.path.suffix == ".npy":
            with entry.path.open("rb") as file:
                np.lib.format.read_magic(file)
                shape = np.lib.format.read_array_header_1_0(file)[0]
            return " x ".join(f"{one:,}" for one in shape)
    return ""


def note_use(path: Path) -> None:
    """Say that a file of the cache is used now; its time of change stays."""
    with suppress(OSError):
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def remove(entry: Entry) -> bool:
    """Take an entry away, unless somebody uses it or makes it; whether it went."""
    lock = entry.path / LOCK if entry.path.is_dir() else entry.path
    try:
        with lock.open("a" if entry.path.is_dir() else "rb") as file:
            take_lock(file.fileno(), wait=False)
            take_away(entry.path)
            _unlink_free(entry.path.with_suffix(f".{LOCK}"))
    except OSError:
        return False
    return True


def refuse_shared() -> None:
    """Take nothing away in a folder that holds other things too.

    One of their folders may be called as one of ours.

    Raises:
        BadInput: naming some of them.
    """
    folder = cache_folder()
    names = sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []
    others = [name for name in names if name not in (*KINDS, "lost+found") and name[0] != "."]
    if others:
        told = ", ".join(others[:3]) + (" ..." if len(others) > 3 else "")
        rule = f"holds other things too ({told}), so nothing is taken away in it"
        way_out = "Set OOD_STUDY_CACHE to a folder of its own."
        raise BadInput(Fault(str(folder), "", rule, way_out))


def limit() -> int | None:
    """Bytes that the cache may hold; None where nobody said so.

    Raises:
        BadInput: where `LIMIT` is no size, and as `refuse_shared`.
    """
    told = os.environ.get(LIMIT, "").strip()
    if not told:
        return None
    refuse_shared()
    try:
        return parse_bytes(told)
    except ValueError as error:
        raise BadInput(Fault(LIMIT, "", str(error), "Write 20 GB, say, or unset it.")) from None


def trim(most: int, *, but: Path | None = None) -> list[Entry]:
    """Take away what was least recently used until the cache holds ``most`` bytes.

    Args:
        most: bytes that may stay.
        but: a path that stays whatever comes.

    Returns:
        What went; what is in use stays, also where that is too much.
    """
    found = entries()
    total, gone = sum(entry.num_bytes for entry in found), []
    for entry in found:
        if total <= most:
            break
        if entry.path != but and remove(entry):
            total -= entry.num_bytes
            gone.append(entry)
    return gone


def tidy(written: Path) -> None:
    """After a write: keep the cache within its limit, and sweep what the killed left."""
    with suppress(OSError, BadInput):  # a limit that is none was told at the start
        sweep()
        if (most := limit()) is not None:
            trim(most, but=written)


def sweep() -> int:
    """Remove half-written files that no process writes any more; gives their number.

    Whoever writes one holds a lock on it; of a base's, on its folder. Nothing is removed where
    other things lie beside.
    """
    swept = 0
    try:
        refuse_shared()
    except BadInput:
        return swept
    for kind in KINDS:
        for path in [*(cache_folder() / kind).rglob(f"*{TEMPORARY}")]:
            with suppress(OSError):
                swept += _is_left(path) and _take_away_free(path)
        for path in (cache_folder() / kind).glob(f"*.{LOCK}"):
            if not path.with_suffix(".npy").exists():
                _unlink_free(path)
    return swept


def _is_left(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > _YOUNG_S


def _take_away_free(path: Path) -> bool:
    """Remove what nobody holds (OSError where somebody does)."""
    base = next((one for one in path.parents if one.parent.name == "bases"), None)
    with (base / LOCK if base else path).open("a" if base else "rb") as file:
        take_lock(file.fileno(), wait=False)
        take_away(path)
    return True


def _unlink_free(lock: Path) -> None:
    """Remove a lock file that nobody holds."""
    with suppress(OSError), lock.open("rb") as file:
        take_lock(file.fileno(), wait=False)
        lock.unlink()


def tell(text: str) -> None:
    """Say on stderr what a user should know, in whichever process it is found out."""
    if text:
        logging.getLogger(__name__).warning("warning: %s", text)


@contextmanager
def alone(lock: Path, waits: str = "") -> Iterator[None]:
    """Of several processes that need the same entry one makes it, and the others wait.

    Args:
        lock: the file to lock; its folder is made, and whatever else stands in their places in
            the cache is taken away.
        waits: what to say on stderr where another process has it; nothing where empty.

    Raises:
        OSError: where it cannot be made.
    """
    make_folder(lock.parent)
    clear_way(lock, folder=False)
    while True:
        with lock.open("a") as file:
            try:
                take_lock(file.fileno(), wait=False)
            except BlockingIOError:
                tell(waits)
                take_lock(file.fileno(), wait=True)
            if not os.fstat(file.fileno()).st_nlink:
                continue  # it was swept between our opening and our locking it
            yield
            return


def make_folder(folder: Path) -> None:
    """Make a folder in the cache; a file in its place, or in that of its kind, is taken away."""
    cache = cache_folder()
    for one in (*reversed(folder.parents), folder):
        if cache in one.parents:
            clear_way(one, folder=True)
    folder.mkdir(parents=True, exist_ok=True)


def clear_way(path: Path, *, folder: bool) -> None:
    """Take away a folder that stands in a file's place, or a file in a folder's, and tell."""
    if folder and path.exists() and not path.is_dir():
        tell(f"{path}: is a file in a folder's place; it is taken away")
        path.unlink()
    elif not folder and path.is_dir():
        tell(f"{path}: is a folder in a file's place; it is taken away")
        shutil.rmtree(path)
