"""Pairs of images that show the same picture: proposed by descriptors, confirmed on pixels.

Three steps, each cheap enough for what the one before it leaves; all work at 32x32 (images of
another size are averaged or repeated to it), in float32, and treat a horizontal mirror image as
a copy.

1. Every pair gets the cosine of two descriptors: the lowest cosine-transform coefficients of
   luminance (6x6 less the mean) and of both colour differences (4x4), weighted to even out the
   1/f spectrum of photographs. A mirror flips the sign of the odd columns only, so one product of
   the even and one of the odd part give both cosines: E + O and E - O. No hashing tables: a
   matrix product over all pairs misses none by bad luck.
2. What remains is compared up to small shifts and zooms: the length of one descriptor's
   projection on the span of the other and its derivatives by x, y and scale (the tangent
   distance of Simard et al. 1993).
3. What remains is aligned on pixels, over shifts of +-2 pixels and a zoom of 32/30 either way, and
   is a near-duplicate where all of `Likeness` holds.

Flat patches, smooth gradients and pictures of a single edge (a white wall beside a dark one) agree
with their like by nature. Two lines of the rule keep them out: an image needs
``Likeness.structure``, or it is never a near-duplicate here (exact copies and mirrors are still
found by hash), and the *detail*, normalised by local contrast, must agree as well, where an edge
is one detail among many.

How often the rule errs is measured by ``benchmarks/leak_rule.py``; the numbers are in
`study.data.leaks.check`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from study.data.images import Pixels
from study.data.leaks.alignment import (
    MAX_SHIFT,
    SIDE,
    ZOOMED,
    Floats,
    measure,
    planes,
    structure,
)

Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

_LUMA_TERMS, _CHROMA_TERMS = 6, 4
# Colour tells random pairs apart best, and its low frequencies hardly move under a shift.
_CHROMA_WEIGHT = 2.5
# Rows and columns of one block of cosines: 8 MB, which stays in a core's cache.
_BLOCK_ROWS, _BLOCK_COLUMNS = 512, 4096
_CHUNK = 2048
# Pairs measured at once: their windows take 10 MB.
_MEASURED_AT_ONCE = 128


@dataclass(frozen=True)
class Likeness:
    """When two images show the same picture; each line must hold.

    Attributes:
        proposal: least cosine of the descriptors (step 1), for the pair or its mirror.
        tangent: least cosine up to small shifts and zooms (step 2).
        correlation: least correlation of luminance after alignment.
        detail: least correlation of the detail after alignment (luminance less its 5x5 mean,
            divided by its 5x5 deviation).
        difference: greatest mean absolute difference of RGB after alignment, in grey levels, a
            common gain and one offset a channel taken away (a brightness change is no difference).
        structure: least share of either image whose luminance differs from its local (5x5) mean
            by 2 grey levels.
    """

    proposal: float = 0.64
    tangent: float = 0.87
    correlation: float = 0.85
    detail: float = 0.65
    difference: float = 16.0
    structure: float = 0.25

    def __str__(self) -> str:
        """One sentence for people and the manifest."""
        return (
            f"near-duplicate: after a mirror, a shift of up to {MAX_SHIFT} px and a zoom of "
            f"{SIDE}/{ZOOMED}, where they help, luminance correlates >= {self.correlation:g}, its "
            f"local detail >= {self.detail:g}, and RGB differs by <= {self.difference:g} grey "
            "levels on average beyond gain and offset; an image with structure on less than "
            f"{self.structure:.0%} of its area is compared by exact hashes alone"
        )


@dataclass(frozen=True, eq=False)
class Descriptors:
    """Unit descriptors of N images, split by what a mirror does to them.

    Attributes:
        even: shape (N, D_even); a mirror leaves it.
        odd: shape (N, D_odd); a mirror flips its sign.
        usable: shape (N,); whether an image has the structure to be compared.
    """

    even: Floats
    odd: Floats
    usable: Mask


@dataclass(frozen=True, eq=False)
class Pairs:
    """Matches between two sets: row of the first, row of the second, and whether mirrored."""

    first: Index
    second: Index
    mirrored: Mask

    def __len__(self) -> int:
        return len(self.first)

    def keep(self, chosen: Mask) -> Pairs:
        """The pairs where ``chosen`` holds."""
        return Pairs(self.first[chosen], self.second[chosen], self.mirrored[chosen])


def describe(pixels: Pixels, rule: Likeness) -> Descriptors:
    """Descriptors of images, shape (N, H, W, 3) uint8; memory beyond the result is bounded."""
    vectors, usable = [], []
    for chunk in _chunks(pixels):
        of_chunk = planes(chunk)
        vectors.append(_unit(_coefficients(of_chunk)))
        usable.append(structure(of_chunk[0]) >= rule.structure)
    joined = np.concatenate(vectors)
    odd = _odd_terms()
    return Descriptors(
        np.ascontiguousarray(joined[:, ~odd]),
        np.ascontiguousarray(joined[:, odd]),
        np.concatenate(usable),
    )


def find_near_duplicates(
    first: Pixels,
    second: Pixels,
    rule: Likeness,
    described: tuple[Descriptors, Descriptors] | None = None,
) -> Pairs:
    """All near-duplicates between two sets, mirrored ones included; exact copies are among them.

    Args:
        first: uint8, shape (N, H, W, 3).
        second: uint8, shape (M, H', W', 3).
        rule: the thresholds.
        described: descriptors of both, where they are at hand.
    """
    left, right = described or (describe(first, rule), describe(second, rule))
    found: list[Pairs] = []
    for start in range(0, len(second), _BLOCK_COLUMNS):
        columns = slice(start, min(start + _BLOCK_COLUMNS, len(second)))
        proposed = _propose(left, right, columns, rule)
        if len(proposed):
            within = _within_tangents(left, second, proposed, rule)
            proposed = proposed.keep(within)
        if len(proposed):
            proposed = proposed.keep(confirm(first, second, proposed, rule))
        found.append(proposed)
    return Pairs(
        np.concatenate([pairs.first for pairs in found]),
        np.concatenate([pairs.second for pairs in found]),
        np.concatenate([pairs.mirrored for pairs in found]),
    )


def _propose(left: Descriptors, right: Descriptors, columns: slice, rule: Likeness) -> Pairs:
    """Pairs of the left rows with the right rows ``columns`` whose cosine reaches the rule."""
    even, odd = right.even[columns].T.copy(), right.odd[columns].T.copy()
    rows_found, columns_found, mirrored = [], [], []
    for start in range(0, len(left.even), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        straight = left.even[rows] @ even
        signed = left.odd[rows] @ odd
        row, column = _positions(straight + np.abs(signed) >= rule.proposal)
        keep = left.usable[start + row] & right.usable[columns.start + column]
        row, column = row[keep], column[keep]
        rows_found.append(start + row)
        columns_found.append(columns.start + column)
        mirrored.append(signed[row, column] < 0)
    return Pairs(*map(np.concatenate, (rows_found, columns_found, mirrored)))


def _positions(mask: Mask) -> tuple[Index, Index]:
    """Row and column of each true cell; a scan by machine words, since nearly all are false."""
    flat = np.ascontiguousarray(mask).reshape(-1)
    if flat.size % 8:
        flat = np.concatenate([flat, np.zeros(-flat.size % 8, dtype=bool)])
    words = np.flatnonzero(flat.view(np.uint64))
    cells = (words[:, None] * 8 + np.arange(8))[flat.reshape(-1, 8)[words]]
    return np.divmod(cells, mask.shape[1])


def _within_tangents(left: Descriptors, second: Pixels, pairs: Pairs, rule: Likeness) -> Mask:
    """Whether each pair's cosine, up to small shifts and zooms, reaches the rule."""
    wanted, position = np.unique(pairs.second, return_inverse=True)
    bases = np.concatenate([_tangent_bases(planes(c)) for c in _chunks(second, wanted)])
    odd = _odd_terms()
    result = np.empty(len(pairs), dtype=bool)
    for start in range(0, len(pairs), 8 * _CHUNK):
        part = slice(start, start + 8 * _CHUNK)
        rows = pairs.first[part]
        vectors = np.empty((len(rows), len(odd)), dtype=np.float32)
        vectors[:, ~odd] = left.even[rows]
        sign = np.where(pairs.mirrored[part], -1, 1).astype(np.float32)
        vectors[:, odd] = left.odd[rows] * sign[:, None]
        lengths = np.matmul(bases[position[part]], vectors[:, :, None])[:, :, 0]
        result[part] = (lengths**2).sum(axis=1) >= rule.tangent**2
    return result


def confirm(first: Pixels, second: Pixels, pairs: Pairs, rule: Likeness) -> Mask:
    """Whether each pair is a near-duplicate by its pixels (step 3)."""
    result = np.zeros(len(pairs), dtype=bool)
    for start in range(0, len(pairs), _MEASURED_AT_ONCE):
        part = slice(start, start + _MEASURED_AT_ONCE)
        a, b = first[pairs.first[part]], second[pairs.second[part]].copy()
        mirrored = pairs.mirrored[part]
        b[mirrored] = b[mirrored][:, :, ::-1]
        correlation, detail, difference = measure(a, b, rule.correlation, rule.detail).T
        result[part] = (
            (correlation >= rule.correlation)
            & (detail >= rule.detail)
            & (difference <= rule.difference)
        )
    return result


def _tangent_bases(of_images: tuple[Floats, Floats, Floats]) -> Floats:
    """Orthonormal bases (N, 4, D) of a descriptor and its derivatives by x, y and scale.

    Differentiation is linear, so it is applied to the cosine basis instead of to each image.
    """
    plain, sloped, scaled = 0, 1, 2
    by_x = _coefficients(of_images, plain, sloped)
    by_y = _coefficients(of_images, sloped, plain)
    by_scale = _coefficients(of_images, plain, scaled) + _coefficients(of_images, scaled, plain)
    basis: list[Floats] = []
    for vector in (_coefficients(of_images), by_x, by_y, by_scale):
        rest = vector
        for direction in basis:
            rest = rest - (rest * direction).sum(axis=1, keepdims=True) * direction
        basis.append(_unit(rest))
    return np.stack(basis, axis=1)


def _coefficients(
    of_images: tuple[Floats, Floats, Floats], vertical: int = 0, horizontal: int = 0
) -> Floats:
    """Weighted cosine-transform coefficients of luminance and colour differences, (N, D).

    Args:
        of_images: luminance and both colour differences, each (N, 32, 32).
        vertical: along columns take the image (0), its derivative (1) or position times that (2).
        horizontal: the same along rows.
    """
    terms = []
    sizes = (_LUMA_TERMS, _CHROMA_TERMS, _CHROMA_TERMS)
    for plane, num_terms in zip(of_images, sizes, strict=True):
        bases = _bases(num_terms)
        across = plane.reshape(-1, SIDE) @ bases[horizontal].T
        both = bases[vertical] @ across.reshape(len(plane), SIDE, num_terms)
        terms.append((both * _weights(num_terms)).reshape(len(plane), num_terms**2))
    return np.asarray(np.concatenate(terms, axis=1), dtype=np.float32)


@cache
def _bases(num_terms: int) -> tuple[Floats, Floats, Floats]:
    """Orthonormal cosines (terms, SIDE); the same after d/dx; the same after x d/dx."""
    cosines = np.cos(np.pi * np.arange(num_terms)[:, None] * (np.arange(SIDE) + 0.5) / SIDE)
    cosines *= np.sqrt(2 / SIDE)
    cosines[0] /= np.sqrt(2)
    slope = np.gradient(np.eye(SIDE), axis=0)
    position = np.arange(SIDE) - (SIDE - 1) / 2
    derivative = cosines @ slope
    scaled = (cosines * position) @ slope
    return (
        cosines.astype(np.float32),
        derivative.astype(np.float32),
        scaled.astype(np.float32),
    )


@cache
def _weights(num_terms: int) -> Floats:
    """Weights (terms, terms) of the coefficients."""
    frequency = np.add.outer(np.arange(num_terms), np.arange(num_terms))
    weights = np.sqrt(np.maximum(frequency, 0.5))
    if num_terms == _LUMA_TERMS:
        weights[0, 0] = 0  # brightness says nothing about what is shown
    else:
        weights *= _CHROMA_WEIGHT
    return np.asarray(weights, dtype=np.float32)


@cache
def _odd_terms() -> Mask:
    """Which descriptor terms change sign in a mirror image, shape (D,)."""
    sizes = (_LUMA_TERMS, _CHROMA_TERMS, _CHROMA_TERMS)
    return np.concatenate([np.arange(n * n) % n % 2 == 1 for n in sizes])


def _unit(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / (norms + 1e-6), dtype=np.float32)


def _chunks(pixels: Pixels, rows: Index | None = None) -> Iterator[Pixels]:
    for start in range(0, len(pixels) if rows is None else len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        yield pixels[part] if rows is None else pixels[rows[part]]
