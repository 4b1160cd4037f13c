"""What lies under a folder: its pictures, each once, and what is left out, counted by reason.

Links are followed. What systems and programs leave about (``._x``, ``~$x``, ``Thumbs.db``,
``__MACOSX`` ...) is passed over, here and wherever else a folder is looked into.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from study.data.decode import picture_suffixes
from study.data.images import printable
from study.errors import BadInput, Fault

_LITTER = frozenset(
    (
        *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin"),
        *("system volume information", "lost+found", "@eadir", "__pycache__"),
    )
)
_LEFT = "left by a system or a program"
_NOWHERE = "links that lead nowhere"
_TWICE = "links to what is there already"
_NO_FILE = "neither file nor folder"
_EMPTY = "folder without a picture"


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or left by a system or a program."""
    return name.startswith((".", "~$")) or name.lower() in _LITTER


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without litter; nothing where it is not there."""
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted((path for path in there if not is_litter(path.name)), key=lambda path: path.name)


@dataclass(frozen=True)
class Pictures:
    """The pictures under a folder.

    Attributes:
        files: in the order of their paths.
        left_out: reasons, each with the number of files or folders that were left out for it.
    """

    files: tuple[Path, ...]
    left_out: tuple[tuple[str, int], ...]


def find_pictures(folder: Path, markers: Collection[str] = ()) -> Pictures:
    """All pictures under ``folder``, told by their suffix.

    What several links lead to counts once, and by its own place where that is under ``folder``.

    Args:
        folder: the folder.
        markers: names of files that tell something of the folder, and are not left out.

    Raises:
        BadInput: if the folder is not there, cannot be looked into, or holds no picture.
    """
    if not folder.is_dir():
        raise BadInput(Fault(str(folder), "", "is not a folder", "Check the path."))
    left: Counter[str] = Counter()
    suffixes = picture_suffixes()
    files = []
    for path in _files(folder, left):
        suffix = path.suffix.lower()
        if suffix in suffixes:
            files.append(path)
        elif path.name not in markers:
            left[f"no picture ({printable(suffix) or 'without a suffix'})"] += 1
    filled = {file.relative_to(folder).parts[0] for file in files}
    for sub in entries(folder):
        if sub.is_dir() and not sub.is_symlink() and sub.name not in filled:
            left[f"{_EMPTY}: {printable(sub.name)}"] += 1
    told = tuple(sorted(left.items()))
    if not files:
        seen = f" (there: {told_left_out(told)})" if told else ""
        rule = f"holds no picture that can be read{seen}"
        way_out = f"Name a folder that has some: {', '.join(sorted(suffixes))}."
        raise BadInput(Fault(str(folder), "", rule, way_out))
    return Pictures(tuple(sorted(files)), told)


def told_left_out(left: Iterable[tuple[str, int]]) -> str:
    """``2 no picture (.txt), 1 left by a system or a program``; a folder without its count."""
    return ", ".join(
        reason if reason.startswith(_EMPTY) else f"{number:,} {reason}" for reason, number in left
    )


def _files(folder: Path, left: Counter[str]) -> Iterator[Path]:
    """Every file below a folder, those of real folders before those that links lead to."""
    places = [os.path.realpath(folder)]
    links: list[str] = []
    seen = set()
    for path, place in _below(str(folder), places[0], left, links):
        seen.add(place)
        yield Path(path)
    while links:
        link = links.pop(0)
        place = os.path.realpath(link)
        if not os.path.exists(place):  # noqa: PTH110 - as text: sets of a million files
            left[_NOWHERE] += 1
            continue
        found: Iterable[tuple[str, str]] = [(link, place)]
        if os.path.isdir(place):  # noqa: PTH112
            # into what was walked, or up to what holds the set and others beside it
            if any(_holds(one, place) for one in places) or _holds(place, places[0]):
                left[_TWICE] += 1
                continue
            places.append(place)
            found = list(_below(link, place, left, links))
        for path, at in found:
            left[_TWICE] += at in seen
            if at not in seen:
                yield Path(path)
            seen.add(at)


def _below(
    top: str, place: str, left: Counter[str], links: list[str]
) -> Iterator[tuple[str, str]]:
    """Files under a folder, each with its real place; links are put into ``links``."""
    pending = [(top, place)]
    while pending:
        here, real = pending.pop()
        try:
            there = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            rule = f"cannot be looked into: {error.strerror}"
            raise BadInput(Fault(here, "", rule, "Check its permissions.")) from None
        for entry in there:
            if is_litter(entry.name):
                left[_LEFT] += 1
            elif entry.is_symlink():
                links.append(entry.path)
            elif entry.is_dir():
                pending.append((entry.path, f"{real}/{entry.name}"))
            elif entry.is_file():
                yield entry.path, f"{real}/{entry.name}"
            else:
                left[_NO_FILE] += 1


def _holds(folder: str, place: str) -> bool:
    return place == folder or place.startswith(f"{folder.rstrip('/')}/")
