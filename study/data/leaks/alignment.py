"""Two images laid over each other: how well they agree at the best small shift and zoom.

All work is in float32 at 32x32; images of another size are averaged or repeated to it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from study.data.images import Pixels

Floats = npt.NDArray[np.float32]

SIDE = 32
MAX_SHIFT = 2
# The zoom tried in either direction: the middle ZOOMED pixels fill the picture.
ZOOMED = 30
_INNER = SIDE - 2 * MAX_SHIFT
_SHIFTS = 2 * MAX_SHIFT + 1
_NUM_SHIFTS = _SHIFTS**2
_NUM_ZOOMS = 3
_MIDDLE = slice(MAX_SHIFT, MAX_SHIFT + _INNER)
# Copies zoomed by 32/30 and re-encoded still correlate .5 before the zoom is undone.
_ROUGH = 0.4
# Grey levels of deviation that JPEG at quality 75 puts into a flat patch.
_NOISE = 4.0
# Grey levels by which a pixel must differ from its 5x5 mean to show something.
_DEPARTURE = 2.0
# A drawing: so much of it hardly varies within 5x5 pixels.
_PLAIN, _GROUND = 3.0, 0.3
# A coarse picture, enlarged from 16 pixels or fewer: hardly any of its variation is finer than
# that. (Of photographs' 1 % or more is, of enlarged 8x8 digits' 0.12 % or less.)
_COARSE, _FINER = 16, 0.003


def measure(
    first: Pixels, second: Pixels, correlation: float = -1.0, detail: float = -1.0
) -> Floats:
    """What the rule looks at, for images paired by row; mirrors are already undone.

    The zoom is the one at which luminance correlates best, the shift the one at which luminance
    and detail do.

    Args:
        first: uint8, shape (N, H, W, 3).
        second: uint8, shape (N, H', W', 3).
        correlation: pairs whose luminance correlates less are measured no further.
        detail: pairs whose detail correlates less are measured no further.

    Returns:
        Shape (N, 3): correlation of luminance, correlation of detail, and mean absolute
        difference in grey levels; -1, -1 and infinity where not measured.
    """
    result = np.full((len(first), 3), (-1, -1, np.inf), dtype=np.float32)
    of_zoom = _luma_correlations(_luma(_rgb(first)), _luma(_rgb(second)), correlation)
    zooms = of_zoom.argmax(axis=1)
    for number in range(_NUM_ZOOMS):
        rows = np.flatnonzero((zooms == number) & (of_zoom.max(axis=1) >= correlation))
        a, b = _zoomed(_rgb(first[rows]), _rgb(second[rows]), number)
        shifts, result[rows, :2] = _best_shift(_luma(a), _luma(b))
        left = np.flatnonzero(result[rows, 1] >= detail)
        top, side = np.divmod(shifts[left], _SHIFTS)
        shifted = _windows(b[left])[np.arange(len(left)), top, side].transpose(0, 2, 3, 1)
        result[rows[left], 2] = _difference(a[left][:, _MIDDLE, _MIDDLE], shifted)
    return result


def _luma_correlations(a: Floats, b: Floats, least: float) -> Floats:
    """Best correlation of luminance over the shifts, by zoom, (N, zooms).

    Pairs far below ``least`` without a zoom are not zoomed, since it cannot bring them there.
    """
    best = np.full((len(a), _NUM_ZOOMS), -1, dtype=np.float32)
    best[:, 0] = _correlations(a[:, _MIDDLE, _MIDDLE], b).max(axis=1)
    rows = np.flatnonzero(best[:, 0] >= min(_ROUGH, least))
    for number in range(1, _NUM_ZOOMS):
        zoomed_a, zoomed_b = _zoomed(a[rows], b[rows], number)
        found = _correlations(zoomed_a[:, _MIDDLE, _MIDDLE], zoomed_b)
        best[rows, number] = found.max(axis=1)
    return best


def _best_shift(a: Floats, b: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """The shift at which luminance and detail agree best, (N,), and both correlations, (N, 2)."""
    luma = _correlations(a[:, _MIDDLE, _MIDDLE], b)
    detail = _correlations(_detail(a)[:, _MIDDLE, _MIDDLE], _detail(b))
    chosen = (luma + detail).argmax(axis=1)
    rows = np.arange(len(a))
    return chosen, np.stack([luma[rows, chosen], detail[rows, chosen]], axis=1)


def _zoomed(a: Floats, b: Floats, number: int) -> tuple[Floats, Floats]:
    """0: as they are; 1: the second zoomed; 2: the first zoomed; (N, 32, 32[, channels])."""
    zoom = _zoom_matrix()
    return (
        _resample(a, zoom, zoom) if number == 2 else a,
        _resample(b, zoom, zoom) if number == 1 else b,
    )


def _correlations(inner: Floats, full: Floats) -> Floats:
    """Correlation of ``inner`` (N, 28, 28) with each of the 25 windows of ``full`` (N, 32, 32)."""
    centred = inner - inner.mean(axis=(1, 2), keepdims=True)
    # var = E[x^2] - E[x]^2 loses little here: values are below 256 and sums run over 784
    variance = _window_means(full * full) - _window_means(full) ** 2
    power = (centred**2).sum(axis=(1, 2))[:, None]
    norms = np.sqrt(np.maximum(variance, 0) * power * _INNER**2)
    return np.asarray(_products(centred, full) / (norms + 1e-6), dtype=np.float32)


def _products(inner: Floats, full: Floats) -> Floats:
    """Inner product of ``inner`` (N, 28, 28) with each of the 25 windows of ``full``, (N, 25).

    Of a shift down one product of matrices has the products of every column with every other;
    those of a shift to the side are its diagonal at that offset. No window is copied.
    """
    columns, sides = inner.transpose(0, 2, 1), range(_SHIFTS)
    downs = [columns @ full[:, down : down + _INNER] for down in sides]
    every = [one.trace(side, 1, 2) for one in downs for side in sides]
    return np.stack(every, axis=1)


def _window_means(full: Floats) -> Floats:
    """Mean over each of the 25 windows, (N, 25)."""
    matrix = _window_matrix()
    means = (matrix @ full @ matrix.T).reshape(len(full), _NUM_SHIFTS)
    return np.asarray(means, dtype=np.float32)


@cache
def _window_matrix() -> Floats:
    """The mean over 28 neighbours from each of 5 starts, as a matrix (5, 32)."""
    starts, places = np.arange(_SHIFTS)[:, None], np.arange(SIDE)
    inside = (places >= starts) & (places < starts + _INNER)
    return np.asarray(inside / _INNER, dtype=np.float32)


def _windows(full: Floats) -> Floats:
    """View of all 28x28 windows: (N, 5, 5, [channels,] 28, 28)."""
    return np.lib.stride_tricks.sliding_window_view(full, (_INNER, _INNER), axis=(1, 2))


def _difference(a: Floats, b: Floats) -> Floats:
    """Mean absolute difference beyond one offset a channel and a common gain, in grey levels.

    The gain is applied towards the image of less contrast, so that the order does not matter.
    """
    a = (a - a.mean(axis=(1, 2), keepdims=True)).reshape(len(a), 3 * _INNER * _INNER)
    b = (b - b.mean(axis=(1, 2), keepdims=True)).reshape(len(b), 3 * _INNER * _INNER)
    power_a, power_b = (a * a).sum(axis=1), (b * b).sum(axis=1)
    swap = (power_a > power_b)[:, None]
    low, high = np.where(swap, b, a), np.where(swap, a, b)
    gain = (low * high).sum(axis=1) / (np.maximum(power_a, power_b) + 1e-6)
    return np.asarray(np.abs(low - gain[:, None] * high).mean(axis=1), dtype=np.float32)


def _detail(luma: Floats) -> Floats:
    """Luminance less its local mean, by its local deviation, (N, 32, 32)."""
    mean, deviation = _local(luma)
    # the noise level in the denominator keeps JPEG's own texture from counting as detail
    return np.asarray((luma - mean) / (deviation + _NOISE), dtype=np.float32)


def structure(luma: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """How much of each image (N, 32, 32) shows something, and whether it is drawn, each (N,).

    Returns:
        The share that differs from its local mean: local means follow a gradient, so a smooth sky
        has no structure; a straight edge has it on two pixels to either side. And which images
        are drawings or writing: much is plain ground.
    """
    mean, deviation = _local(luma)
    departs, plain = np.abs(luma - mean) >= _DEPARTURE, deviation < _PLAIN
    share = np.asarray(departs.mean(axis=(1, 2)), dtype=np.float32)
    return share, np.asarray(plain.mean(axis=(1, 2)) >= _GROUND)


def one_way(luma: Floats) -> Floats:
    """How far each image (N, 32, 32) varies in one direction alone, in [0, 1], shape (N,).

    The coherence of the structure tensor of the whole image: 1 for a stroke, a bar or stripes.
    """
    down, across = np.gradient(luma, axis=(1, 2))
    vertical, horizontal = (down * down).sum(axis=(1, 2)), (across * across).sum(axis=(1, 2))
    both = (down * across).sum(axis=(1, 2))
    spread = np.hypot(vertical - horizontal, 2 * both)
    return np.asarray(spread / (vertical + horizontal + 1e-6), dtype=np.float32)


def coarse(luma: Floats) -> npt.NDArray[np.bool_]:
    """Which images (N, 32, 32) were enlarged from much smaller ones, shape (N,)."""
    basis = cosines(SIDE).astype(np.float32)
    energy = (basis @ luma @ basis.T) ** 2
    energy[:, 0, 0] = 0
    low = energy[:, :_COARSE, :_COARSE].sum(axis=(1, 2))
    return np.asarray(low >= (1 - _FINER) * energy.sum(axis=(1, 2)))


@cache
def cosines(num_terms: int) -> npt.NDArray[np.float64]:
    """The first terms of the orthonormal cosine transform of 32 values, (terms, 32)."""
    angles = np.pi * np.arange(num_terms)[:, None] * (np.arange(SIDE) + 0.5) / SIDE
    basis: npt.NDArray[np.float64] = np.cos(angles) * np.sqrt(2 / SIDE)
    basis[0] /= np.sqrt(2)
    return basis


def _local(luma: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each pixel's 5x5 surroundings."""
    mean, square = _mean5(luma), _mean5(luma * luma)
    return mean, np.sqrt(np.maximum(square - mean * mean, 0))


def _mean5(values: Floats) -> Floats:
    matrix = _mean_matrix()
    across = (values.reshape(-1, SIDE) @ matrix.T).reshape(values.shape)
    mean: Floats = matrix @ across
    return mean


@cache
def _mean_matrix() -> Floats:
    """The mean of five neighbours as a matrix (32, 32); the edge is repeated."""
    padded = np.pad(np.eye(SIDE, dtype=np.float32), ((2, 2), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=0)
    return np.asarray(windows.mean(axis=2), dtype=np.float32)


def planes(pixels: Pixels) -> tuple[Floats, Floats, Floats]:
    """Luminance and the two colour differences (BT.601), each (N, 32, 32)."""
    rgb = _rgb(pixels)
    luma = _luma(rgb)
    return luma, (rgb[..., 2] - luma) * np.float32(0.564), (rgb[..., 0] - luma) * np.float32(0.713)


def _luma(rgb: Floats) -> Floats:
    luma: Floats = rgb @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return luma


def _rgb(pixels: Pixels) -> Floats:
    """Float images at 32x32, (N, 32, 32, 3)."""
    rgb = pixels.astype(np.float32)
    height, width = pixels.shape[1:3]
    if (height, width) == (SIDE, SIDE):
        return rgb
    return _resample(rgb, _area_matrix(height), _area_matrix(width))


@cache
def _area_matrix(size: int) -> Floats:
    """Resampling to 32 cells by area, (32, size): each row averages what its cell covers."""
    edges = np.arange(SIDE + 1) * size / SIDE
    low, high = np.arange(size), np.arange(size) + 1
    cover = np.minimum(edges[1:, None], high) - np.maximum(edges[:-1, None], low)
    return np.asarray(np.maximum(cover, 0) * SIDE / size, dtype=np.float32)


@cache
def _zoom_matrix() -> Floats:
    """Bilinear zoom of the middle 30 pixels to 32, as a matrix (32, 32)."""
    position = (SIDE - ZOOMED) / 2 + (np.arange(SIDE) + 0.5) * ZOOMED / SIDE - 0.5
    distance = np.abs(position[:, None] - np.arange(SIDE))
    return np.asarray(np.maximum(1 - distance, 0), dtype=np.float32)


def _resample(images: Floats, by_row: Floats, by_column: Floats) -> Floats:
    rows = np.einsum("sh,nhw...->nsw...", by_row, images, optimize=True)
    result: Floats = np.einsum("sw,nhw...->nhs...", by_column, rows, optimize=True)
    return result
