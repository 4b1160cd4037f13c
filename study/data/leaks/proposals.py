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
_ASKED_AT_ONCE = 65_536
_GATHERED = 16_384  # pairs


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
    def cells(self) -> Cells:
        """Those of the usable images, in cells by their nearest mean."""
        import faiss  # takes a second, which small sets need not wait for

        rows = np.flatnonzero(self.usable)
        vectors = self.vectors[rows]
        number = max(1, int(_CELLS * np.sqrt(len(rows))))
        means = faiss.Kmeans(
            vectors.shape[1],
            number,
            niter=_ROUNDS,
            seed=0,
            spherical=True,
            min_points_per_centroid=1,
            max_points_per_centroid=_TRAINED_ON,
        )
        means.train(vectors)
        nearest = means.index.search(vectors, 1)[1][:, 0]
        order = np.argsort(nearest, kind="stable")
        limits = np.searchsorted(nearest[order], np.arange(number + 1))
        return Cells(means.index, limits, rows[order], vectors[order])


@dataclass(frozen=True, eq=False)
class Cells:
    """Descriptors sorted into cells.

    Attributes:
        means: faiss's index of the cells' means.
        limits: cell k holds places ``limits[k]`` to ``limits[k + 1]``.
        rows: row of each place's image in its set.
        vectors: descriptor of each place.
    """

    means: Any
    limits: Index
    rows: Index
    vectors: Floats

    def __len__(self) -> int:
        return len(self.limits) - 1


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
) -> list[Iterator[Pairs]]:
    """Pairs whose cosine reaches ``least``, or a stricter number for rare turns.

    Args:
        left: of the smaller set; turns are of it.
        right: of the larger.
        least: the cosine, in [-1, 1].
        all_pairs: sets of more pairs go by cells.

    Returns:
        One for each of `TURNS`, which may be run through side by side: its pairs part by part,
        each once.
    """
    if not left.usable.any() or not right.usable.any():
        return []
    cells = right.cells if len(left) * len(right) > all_pairs else None

    def of_turn(number: int) -> Iterator[Pairs]:
        wanted = least_of(least, number)
        parts = (
            _by_blocks(left, right, TURNS[number], wanted)
            if cells is None
            else _by_cells(left, cells, number, wanted)
        )
        for rows, columns in _gathered(parts):
            yield Pairs(rows, columns, np.full(len(rows), number))

    return [of_turn(number) for number in range(len(TURNS))]


def _gathered(parts: Iterator[tuple[Index, Index]]) -> Iterator[tuple[Index, Index]]:
    """The same pairs in parts worth a call."""
    rows: list[Index] = []
    columns: list[Index] = []
    for row, column in parts:
        rows.append(row)
        columns.append(column)
        if sum(map(len, rows)) >= _GATHERED:
            yield np.concatenate(rows), np.concatenate(columns)
            rows, columns = [], []
    if rows:
        yield np.concatenate(rows), np.concatenate(columns)


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
    rows, columns = np.flatnonzero(left.usable), np.flatnonzero(right.usable)
    vectors, others = turned(left.vectors[rows], turn), right.vectors[columns]
    for from_column in range(0, len(columns), _BLOCK_COLUMNS):
        block = np.ascontiguousarray(others[from_column : from_column + _BLOCK_COLUMNS].T)
        for from_row in range(0, len(rows), _BLOCK_ROWS):
            row, column = _reaching(vectors[from_row : from_row + _BLOCK_ROWS], block, least)
            if len(row):
                yield rows[row + from_row], columns[column + from_column]


def _by_cells(
    few: Descriptors, cells: Cells, number: int, least: float
) -> Iterator[tuple[Index, Index]]:
    """The same, but for pairs that share none of a picture's nearest cells.

    Cell by cell: one product of all who ask there takes a tenth of what each one's own takes.
    """
    asking = np.flatnonzero(few.usable)
    # What is asked of rare turns is closer, and lies in fewer cells.
    share = 1.0 if number <= MIRROR else _OF_RARER
    looked_at = min(len(cells), 8 + int(share * _LOOKED_AT * np.sqrt(len(cells))))
    for start in range(0, len(asking), _ASKED_AT_ONCE):
        rows = asking[start : start + _ASKED_AT_ONCE]
        vectors = turned(few.vectors[rows], TURNS[number])
        near = cells.means.search(vectors, looked_at)[1].ravel()
        order = np.argsort(near, kind="stable")
        limits = np.searchsorted(near[order], np.arange(len(cells) + 1))
        for cell in range(len(cells)):
            here = order[limits[cell] : limits[cell + 1]] // looked_at
            stored = slice(cells.limits[cell], cells.limits[cell + 1])
            row, column = _reaching(vectors[here], cells.vectors[stored].T, least)
            if len(row):
                yield rows[here[row]], cells.rows[stored][column]


def _reaching(vectors: Floats, columns: Floats, least: float) -> tuple[Index, Index]:
    """Where cosines of (N, D) with (D, M) reach ``least``: row and column of each."""
    reached = (vectors @ columns).ravel() >= least
    row, column = np.divmod(np.flatnonzero(reached), columns.shape[1] or 1)
    return row, column
