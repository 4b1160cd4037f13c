"""What pairs of sets were found to share, kept by content: nobody looks twice.

Whoever starts a study again, resumes it or only asks what it would do has the answer at once.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from study.data.images import ImageSet
from study.records.cache import cache_folder
from study.records.cached import read_bytes, write_bytes

Rows = npt.NDArray[np.intp]
Shared = tuple[Rows, Rows, list[tuple[int, int]]]
"""Rows of either set, and pairs of rows as examples."""


def kept_at(first: ImageSet, second: ImageSet, rule: str) -> Path:
    """Where the cache has what two sets share: by their content, the rule, and the code here."""
    parts = f"{first.fingerprint} {second.fingerprint} {rule} {_code()}"
    return cache_folder() / "leaks" / f"{hashlib.sha256(parts.encode()).hexdigest()[:32]}.npz"


def read_kept(entry: Path, kinds: Sequence[str]) -> dict[str, Shared]:
    """By kind what is kept there; empty where nothing is, or not all of it."""
    content = read_bytes(entry)
    if content is None:
        return {}
    with suppress(KeyError), np.load(io.BytesIO(content), allow_pickle=False) as kept:
        return {
            kind: (
                kept[f"{kind}_first"],
                kept[f"{kind}_second"],
                [(int(a), int(b)) for a, b in kept[f"{kind}_pairs"]],
            )
            for kind in kinds
        }
    return {}


def keep(entry: Path, found: Mapping[str, Shared]) -> None:
    """Keep it, by rename; a cache that cannot be written is done without."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for kind, (first, second, pairs) in found.items():
        arrays |= {f"{kind}_first": first, f"{kind}_second": second}
        arrays[f"{kind}_pairs"] = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    with suppress(OSError):
        write_bytes(entry, content.getvalue())


@cache
def _code() -> str:
    """A hash of this folder's code: what it finds is of it."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
