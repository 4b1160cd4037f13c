"""Which pairs of two sets are worth a closer look: those whose descriptors agree, turned anyhow.

Small sets are compared pair by pair. Of large ones the larger is put into cells around means
(faiss's inverted file; Johnson et al. 2021, arXiv:1702.08734), and a picture of the other is
compared with those of its nearest cells alone. ``benchmarks/leak_rule.py`` measures what that
misses of all pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from study.data.leaks.turns import MIRROR, TURNS, Turn

Floats = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

LUMA_TERMS, CHROMA_TERMS = 6, 4
# What is left of the way to 1 for a pair that is turned otherwise than into its mirror image:
# fourteen ways more would else propose, and err, fourteen times as much.
_RARER = 0.6
ALL_PAIRS = 30_000_000
"""Sets of so many pairs are compared pair by pair: nothing is left out."""
# Rows and columns of one block of cosines: 8 MB, which stays in a core's cache.
_BLOCK_ROWS, _BLOCK_COLUMNS = 512, 4096
_CELLS, _LOOKED_AT = 3.0, 0.3  # times the root of the images; times the root of the cells, 8 more
_OF_RARER = 0.1  # of the cells beyond those 8
_TRAINED_ON, _ROUNDS = 32, 5  # images a cell
_ASKED_AT_ONCE = 16_384


@dataclass(frozen=True, eq=False)
class Descriptors:
    """Unit descriptors of N images.

    Attributes:
        vectors: shape (N, D).
        usable: shape (N,); whether an image has the structure to be compared.
    """

    vectors: Floats
    usable: Mask

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def cells(self) -> Any:
        """Those of the usable images, in cells by their nearest mean."""
        import faiss  # takes a second, which small sets need not wait for

        rows = self.vectors[self.usable]
        number = max(1, int(_CELLS * np.sqrt(len(rows))))
        width = rows.shape[1]
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(width), width, number, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.spherical, index.cp.niter, index.cp.seed = True, _ROUNDS, 0
        index.cp.min_points_per_centroid = 1
        index.cp.max_points_per_centroid = _TRAINED_ON
        index.train(rows)
        index.add(rows)
        return index


@dataclass(frozen=True, eq=False)
class Pairs:
    """Matches: row of the first set, row of the second, and which turn of the first it is."""

    first: Index
    second: Index
    turns: Index

    def __len__(self) -> int:
        return len(self.first)

    @property
    def mirrored(self) -> Mask:
        """Whether one is the mirror image of the other, and no other turn of it."""
        mirrored: Mask = self.turns == MIRROR
        return mirrored

    def swapped(self) -> Pairs:
        """The same with the sets in the other order, and turns of what is first then."""
        opposite = np.array([TURNS.index(turn.opposite) for turn in TURNS])
        return Pairs(self.second, self.first, opposite[self.turns])

    def keep(self, chosen: Mask | Index) -> Pairs:
        """The pairs where ``chosen`` holds, or at its places."""
        return Pairs(self.first[chosen], self.second[chosen], self.turns[chosen])

    def once(self) -> Pairs:
        """Each pair once, by its first turn."""
        order = np.lexsort((self.turns, self.second, self.first))
        ordered = self.keep(order)
        new = np.ones(len(order), dtype=bool)
        new[1:] = (np.diff(ordered.first) != 0) | (np.diff(ordered.second) != 0)
        return ordered.keep(new)


def propose(
    left: Descriptors, right: Descriptors, least: float, all_pairs: int = ALL_PAIRS
) -> Iterator[Pairs]:
    """Pairs whose cosine reaches ``least``, or a stricter number for rare turns, part by part.

    Args:
        left: of the smaller set; turns are of it.
        right: of the larger.
        least: the cosine, in [-1, 1].
        all_pairs: sets of more pairs go by cells.

    Yields:
        Pairs of one turn at a time, each once.
    """
    every_pair = len(left) * len(right) <= all_pairs
    for number, turn in enumerate(TURNS):
        wanted = least_of(least, number)
        parts = (_by_blocks if every_pair else _by_cells)(left, right, turn, wanted)
        for rows, columns in parts:
            yield Pairs(rows, columns, np.full(len(rows), number))


def least_of(least: float, turn: int) -> float:
    """The least cosine or correlation of a pair in one of `TURNS`."""
    return least if turn <= MIRROR else 1 - _RARER * (1 - least)


def turned(vectors: Floats, turn: Turn) -> Floats:
    """Descriptors of pictures (..., D), of these as they would be turned."""
    order, sign = _turning(turn)
    return np.ascontiguousarray(vectors[..., order] * sign)


@cache
def _turning(turn: Turn) -> tuple[Index, Floats]:
    """A cosine's row and column change places, and odd ones their sign in a reverse."""
    order, signs, start = [], [], 0
    for terms in (LUMA_TERMS, CHROMA_TERMS, CHROMA_TERMS):
        places = start + np.arange(terms * terms).reshape(terms, terms)
        odd = np.arange(terms) % 2
        sign = np.ones((terms, terms), dtype=np.float32)
        if turn.upside_down:
            sign *= 1 - 2 * odd[:, None]
        if turn.mirrored:
            sign *= 1 - 2 * odd
        order.append((places.T if turn.transposed else places).ravel())
        signs.append((-sign if turn.negative else sign).ravel())
        start += terms * terms
    return np.concatenate(order), np.concatenate(signs).astype(np.float32)


def _by_blocks(
    left: Descriptors, right: Descriptors, turn: Turn, least: float
) -> Iterator[tuple[Index, Index]]:
    """Rows and columns of every pair that reaches the cosine, a block of them at a time."""
    vectors = turned(left.vectors, turn)
    for from_column in range(0, len(right), _BLOCK_COLUMNS):
        columns = np.ascontiguousarray(right.vectors[from_column : from_column + _BLOCK_COLUMNS].T)
        for from_row in range(0, len(left), _BLOCK_ROWS):
            cosines = vectors[from_row : from_row + _BLOCK_ROWS] @ columns
            row, column = np.nonzero(cosines >= least)
            row, column = row + from_row, column + from_column
            keep = left.usable[row] & right.usable[column]
            if keep.any():
                yield row[keep], column[keep]


def _by_cells(
    few: Descriptors, many: Descriptors, turn: Turn, least: float
) -> Iterator[tuple[Index, Index]]:
    """The same, but for pairs that share none of a picture's nearest cells."""
    asking, stored = np.flatnonzero(few.usable), np.flatnonzero(many.usable)
    if not len(asking) or not len(stored):
        return
    cells = many.cells
    # What is asked of rare turns is closer, and lies in fewer cells.
    share = 1.0 if TURNS.index(turn) <= MIRROR else _OF_RARER
    cells.nprobe = min(cells.nlist, 8 + int(share * _LOOKED_AT * np.sqrt(cells.nlist)))
    for start in range(0, len(asking), _ASKED_AT_ONCE):
        rows = asking[start : start + _ASKED_AT_ONCE]
        limits, _, places = cells.range_search(turned(few.vectors[rows], turn), least)
        counts = np.diff(limits.astype(np.int64))
        if len(places):
            yield np.repeat(rows, counts), stored[places]
