"""Pairs of images that show the same picture: proposed by descriptors, confirmed on pixels.

Three steps, each cheap enough for what the one before it leaves; all work at 32x32 (images of
another size are averaged or repeated to it), in float32, and treat mirror images, pictures turned
by 90, 180 or 270 degrees, and negatives of all these as copies.

1. `study.data.leaks.proposals` compares descriptors by their cosine: the lowest cosine-transform
   coefficients of luminance (6x6 less the mean) and of both colour differences (4x4), weighted to
   even out the 1/f spectrum of photographs. Turning a picture moves them and changes signs.
2. What remains is compared up to small shifts and zooms: the length of one descriptor's
   projection on the span of the other and its derivatives by x, y and scale (the tangent
   distance of Simard et al. 1993).
3. What remains is aligned on pixels, over shifts of +-2 pixels and a zoom of 32/30 either way, and
   is a near-duplicate where all of `Likeness` holds.

Flat patches, smooth gradients and pictures of a single edge (a white wall beside a dark one) agree
with their like by nature. Two lines of the rule keep them out: an image needs
``Likeness.structure``, or it is never a near-duplicate here (exact copies and mirrors are still
found by hash), and the *detail*, normalised by local contrast, must agree as well, where an edge
is one detail among many. Drawings and writing on a plain ground, where few strokes are all there
is, must agree almost to the pixel; pictures that were enlarged from a few pixels, which say
little, almost in every grey level.

How often the rule errs is measured by ``benchmarks/leak_rule.py``; the numbers are in
`study.data.leaks.check`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from threadpoolctl import threadpool_limits

from study.data.images import Pixels
from study.data.leaks.alignment import (
    MAX_SHIFT,
    SIDE,
    ZOOMED,
    Floats,
    coarse,
    cosines,
    measure,
    one_way,
    planes,
    structure,
)
from study.data.leaks.proposals import (
    CHROMA_TERMS,
    LUMA_TERMS,
    Descriptors,
    Mask,
    Pairs,
    least_of,
    propose,
    turned,
)
from study.data.leaks.turns import TURNS

# Colour tells random pairs apart best, and its low frequencies hardly move under a shift.
_CHROMA_WEIGHT = 2.5
_CHUNK = 2048
_THREADS = 2
_COLUMNS = ("first", "second", "turns")
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
        one_way: how far either image may vary in one direction alone, in [0, 1]; a bar and stripes
            are 1, and like every other of their direction.
        drawn_one_way: ``one_way`` where an image is drawn: much of it is plain ground.
        drawn_detail: ``detail`` there; no looser.
        drawn_difference: ``difference`` there, and of pictures enlarged from 16 pixels or fewer;
            no looser.
    """

    proposal: float = 0.64
    tangent: float = 0.87
    correlation: float = 0.85
    detail: float = 0.65
    difference: float = 16.0
    structure: float = 0.25
    one_way: float = 0.8
    drawn_one_way: float = 0.65
    drawn_detail: float = 0.9
    drawn_difference: float = 8.0

    def __str__(self) -> str:
        """One sentence for people and the manifest."""
        return (
            "near-duplicate: after a mirror, a quarter turn or two, a negative, a shift of up to "
            f"{MAX_SHIFT} px and a zoom of {SIDE}/{ZOOMED}, where they help, luminance correlates "
            f">= {self.correlation:g}, its local detail >= {self.detail:g}, and RGB differs by <= "
            f"{self.difference:g} grey levels on average beyond gain and offset (drawings on a "
            f"plain ground: {self.drawn_detail:g} and {self.drawn_difference:g}; enlarged from 16 "
            f"pixels or fewer: {self.drawn_difference:g}); an image with "
            f"structure on less than {self.structure:.0%} of its area, or in one direction alone, "
            "is compared by exact hashes alone; stronger crops, other angles and other colours "
            "are not looked for"
        )


def describe(pixels: Pixels, rule: Likeness) -> Descriptors:
    """Descriptors of images, shape (N, H, W, 3) uint8; memory beyond the result is bounded."""

    def described(chunk: Pixels) -> tuple[Floats, Mask]:
        of_chunk = planes(chunk)
        share, drawn = structure(of_chunk[0])
        most = np.where(drawn, rule.drawn_one_way, rule.one_way)
        told = (share >= rule.structure) & (one_way(of_chunk[0]) <= most)
        return _unit(_coefficients(of_chunk)), told

    with _threads() as pool:
        vectors, usable = zip(*pool.map(described, _chunks(pixels)), strict=True)
    return Descriptors(np.concatenate(vectors), np.concatenate(usable))


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Threads that compute side by side: numpy lets go of the interpreter's lock.

    Threads that numpy and faiss start below them would wait for one another, ten times as long.
    """
    alone = partial(threadpool_limits, 1)
    with alone(), ThreadPoolExecutor(_THREADS, initializer=alone) as pool:
        yield pool


def find_near_duplicates(
    first: Pixels,
    second: Pixels,
    rule: Likeness,
    described: tuple[Descriptors, Descriptors] | None = None,
) -> Pairs:
    """All near-duplicates between two sets, turned ones included; exact copies are among them.

    Args:
        first: uint8, shape (N, H, W, 3).
        second: uint8, shape (M, H', W', 3).
        rule: the thresholds.
        described: descriptors of both, where they are at hand.
    """
    left, right = described or (describe(first, rule), describe(second, rule))
    if len(first) > len(second):  # the larger set is searched, for what the smaller one has
        return find_near_duplicates(second, first, rule, (right, left)).swapped().once()
    bases = np.concatenate([_tangent_bases(planes(chunk)) for chunk in _chunks(first)])
    none = np.zeros(0, dtype=np.intp)

    def confirmed(proposed: Iterator[Pairs]) -> list[Pairs]:
        close = (part.keep(_within_tangents(bases, right, part, rule)) for part in proposed)
        return [part.keep(confirm(first, second, part, rule)) for part in close]

    with _threads() as pool:  # a turn each
        turns = pool.map(confirmed, propose(left, right, rule.proposal))
        found = [Pairs(none, none, none), *(part for parts in turns for part in parts)]
    joined = (np.concatenate([getattr(one, name) for one in found]) for name in _COLUMNS)
    return Pairs(*joined).once()


def _within_tangents(bases: Floats, right: Descriptors, pairs: Pairs, rule: Likeness) -> Mask:
    """Whether each pair's cosine, up to small shifts and zooms, reaches the rule.

    A turn of a picture turns its derivatives too.
    """
    result = np.zeros(len(pairs), dtype=bool)
    for start in range(0, len(pairs), _CHUNK):
        part = slice(start, start + _CHUNK)
        number = int(pairs.turns[start])  # proposals come a turn at a time
        rows, position = np.unique(pairs.first[part], return_inverse=True)
        of_turn = turned(bases[rows], TURNS[number])[position]
        lengths = np.matmul(of_turn, right.vectors[pairs.second[part]][:, :, None])[:, :, 0]
        result[part] = (lengths**2).sum(axis=1) >= least_of(rule.tangent, number) ** 2
    return result


def confirm(first: Pixels, second: Pixels, pairs: Pairs, rule: Likeness) -> Mask:
    """Whether each pair, all in the same turn, is a near-duplicate by its pixels (step 3)."""
    result = np.zeros(len(pairs), dtype=bool)
    for start in range(0, len(pairs), _MEASURED_AT_ONCE):
        part = slice(start, start + _MEASURED_AT_ONCE)
        a = TURNS[int(pairs.turns[start])].of(first[pairs.first[part]])
        b = second[pairs.second[part]]
        correlation, detail, difference = measure(a, b, rule.correlation, rule.detail).T
        like = (detail >= rule.detail) & (difference <= rule.difference)
        like &= correlation >= rule.correlation
        first_luma, second_luma = planes(a[like])[0], planes(b[like])[0]
        plain = structure(first_luma)[1] | structure(second_luma)[1]
        few_pixels = plain | coarse(first_luma) | coarse(second_luma)
        like[like] &= (detail[like] >= np.where(plain, rule.drawn_detail, rule.detail)) & (
            difference[like] <= np.where(few_pixels, rule.drawn_difference, rule.difference)
        )
        result[part] = like
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
    sizes = (LUMA_TERMS, CHROMA_TERMS, CHROMA_TERMS)
    for plane, num_terms in zip(of_images, sizes, strict=True):
        bases = _bases(num_terms)
        across = plane.reshape(-1, SIDE) @ bases[horizontal].T
        both = bases[vertical] @ across.reshape(len(plane), SIDE, num_terms)
        terms.append((both * _weights(num_terms)).reshape(len(plane), num_terms**2))
    return np.asarray(np.concatenate(terms, axis=1), dtype=np.float32)


@cache
def _bases(num_terms: int) -> tuple[Floats, Floats, Floats]:
    """Orthonormal cosines (terms, SIDE); the same after d/dx; the same after x d/dx."""
    basis, slope = cosines(num_terms), np.gradient(np.eye(SIDE), axis=0)
    position = np.arange(SIDE) - (SIDE - 1) / 2
    plain, derivative, scaled = (
        one.astype(np.float32) for one in (basis, basis @ slope, (basis * position) @ slope)
    )
    return plain, derivative, scaled


@cache
def _weights(num_terms: int) -> Floats:
    """Weights (terms, terms) of the coefficients."""
    frequency = np.add.outer(np.arange(num_terms), np.arange(num_terms))
    weights = np.sqrt(np.maximum(frequency, 0.5))
    if num_terms == LUMA_TERMS:
        weights[0, 0] = 0  # brightness says nothing about what is shown
    else:
        weights *= _CHROMA_WEIGHT
    return np.asarray(weights, dtype=np.float32)


def _unit(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / (norms + 1e-6), dtype=np.float32)


def _chunks(pixels: Pixels) -> Iterator[Pixels]:
    for start in range(0, len(pixels), _CHUNK):
        yield pixels[start : start + _CHUNK]
