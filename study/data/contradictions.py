"""One and the same picture under several labels: told, since nobody can be right about it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from study.counted import counted, some
from study.data.classes import names_of
from study.data.images import ImageSet, picture_hashes, printable

_MOST_TOLD = 10
_MOST_LABELS = 3


def contradictions(sets: Sequence[ImageSet]) -> list[str]:
    """A sentence about the pictures that stand under several labels; none where none does.

    Args:
        sets: ID images whose labels count the same classes.
    """
    copies = Counter[bytes]()
    under: dict[bytes, dict[str, str]] = defaultdict(dict)  # picture -> class -> an image of it
    for images in sets:
        names, place = names_of(images), f"{images.name}: " if len(sets) > 1 else ""
        marks = picture_hashes(images.pixels).tolist()
        copies.update(marks)
        for mark, label, row in zip(marks, images.labels, images.ids, strict=True):
            under[mark].setdefault(names[label], f"{place}{printable(row.decode())}")
    several = {mark: rows for mark, rows in under.items() if len(rows) > 1}
    if not several:
        return []
    where = " and ".join(f"'{images.name}'" for images in sets)
    has = "has" if len(sets) == 1 else "have"
    pictures = counted(len(several), "picture")
    num_images = sum(copies[mark] for mark in several)
    told = some([_told(rows) for rows in several.values()], _MOST_TOLD)
    return [f"{where} {has} {pictures} under several labels ({num_images:,} images): {told}."]


def _told(rows: Mapping[str, str]) -> str:
    """The images of one picture, each with its class."""
    parts = [f"{row} ({name})" for name, row in rows.items()]
    return " = ".join(parts[:_MOST_LABELS] + ["others"] * (len(parts) > _MOST_LABELS))
