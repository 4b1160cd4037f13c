"""Pairs that the leak check found, side by side as a picture, so that a person can judge."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from study.data.images import Pixels
from study.records.cache import cache_folder

_SIDE, _GAP, _GROUND = 128, 8, 255
_NEAREST = Image.Resampling.NEAREST  # the pixels themselves, enlarged


def save_pairs(first: Pixels, second: Pixels, pairs: Sequence[tuple[int, int]]) -> Path | None:
    """Draw pairs of two sets under each other, and keep them in the cache.

    Args:
        first: pixels of one set, (N, H, W, 3).
        second: pixels of the other, (M, H', W', 3).
        pairs: rows of both.

    Returns:
        The PNG, named by its content; None where it cannot be written.
    """
    step = _SIDE + _GAP
    sheet = Image.new("RGB", (2 * step + _GAP, len(pairs) * step + _GAP), (_GROUND,) * 3)
    for place, (row, column) in enumerate(pairs):
        for side, pixels in enumerate((first[row], second[column])):
            shown = Image.fromarray(np.ascontiguousarray(pixels)).resize((_SIDE, _SIDE), _NEAREST)
            sheet.paste(shown, (_GAP + side * step, _GAP + place * step))
    name = hashlib.sha256(sheet.tobytes()).hexdigest()[:24]
    path = cache_folder() / "leaks" / "pairs" / f"{name}.png"
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
        return path
    return None
