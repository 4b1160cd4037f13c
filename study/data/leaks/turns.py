"""The ways in which a whole picture may be turned: mirrors, quarter turns, and its negative."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from study.data.images import Pixels


@dataclass(frozen=True)
class Turn:
    """One of the sixteen; what is said first is done first.

    Attributes:
        transposed: rows become columns.
        upside_down: rows in reverse.
        mirrored: columns in reverse.
        negative: each value taken from 255.
    """

    transposed: bool
    upside_down: bool
    mirrored: bool
    negative: bool

    def of(self, pixels: Pixels) -> Pixels:
        """Pictures (N, H, W, 3), turned; a view where that can be."""
        if self.transposed:
            pixels = pixels.swapaxes(1, 2)
        if self.upside_down:
            pixels = pixels[:, ::-1]
        if self.mirrored:
            pixels = pixels[:, :, ::-1]
        return 255 - pixels if self.negative else pixels

    @property
    def opposite(self) -> Turn:
        """The turn that undoes it: of a quarter turn the one the other way round."""
        if not self.transposed:
            return self
        return Turn(True, self.mirrored, self.upside_down, self.negative)


TURNS = tuple(
    Turn(transposed, upside_down, mirrored, negative)
    for negative, transposed, upside_down, mirrored in product((False, True), repeat=4)
)
"""All of them: as it is, its mirror image, then those that photographs are rarely in."""

MIRROR = 1
"""Place of the mirror image."""
