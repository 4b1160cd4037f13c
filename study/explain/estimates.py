"""A mean over images with its bootstrap interval, and the rank correlation of two maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from study.scoring.intervals import percentile_interval
from study.scoring.ranking import bootstrap_counts
from study.seeding import numpy_generator

Floats = NDArray[np.float64]
NUM_RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean over images.

    Attributes:
        mean: None where no image has a value.
        low: lower end of the 95 % percentile bootstrap interval, by source group; None with it.
        high: upper end.
        num_images: images that have a value.
        num_groups: source groups among them; with fewer than 10 an interval is a rough one.
        num_undefined: images without a value (a constant map has no rank correlation).
    """

    mean: float | None
    low: float | None
    high: float | None
    num_images: int
    num_groups: int
    num_undefined: int = 0


def mean_with_interval(values: ArrayLike, groups: ArrayLike, seed: int, *names: str) -> Estimate:
    """The mean of one value an image, with the interval of a bootstrap over source groups.

    Args:
        values: shape (N,); NaN where an image has none.
        groups: source group of each image, shape (N,).
        seed: with ``names``, of the resamples.
        names: what the value is of.
    """
    all_values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(all_values)
    kept, of = all_values[known], np.asarray(groups)[known]
    if not kept.size:
        return Estimate(None, None, None, 0, 0, int(all_values.size))
    generator = numpy_generator(seed, "saliency", *names)
    counts = bootstrap_counts(of, NUM_RESAMPLES, generator)
    means = counts @ kept / counts.sum(axis=1)
    interval = percentile_interval(means)
    return Estimate(
        float(kept.mean()),
        interval.low,
        interval.high,
        int(kept.size),
        len(np.unique(of)),
        int(all_values.size - kept.size),
    )


def rank_correlations(first: Floats, second: Floats) -> Floats:
    """Spearman's correlation of two maps of each image, over pixels; ties share their rank.

    Args:
        first: shape (N, H, W).
        second: the same shape.

    Returns:
        Shape (N,), in [-1, 1]; NaN where a map is constant.
    """
    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
    one, two = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    size = np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1))
    flat = size == 0
    correlation = (one * two).sum(axis=1) / np.where(flat, 1.0, size)
    return np.where(flat, np.nan, np.clip(correlation, -1.0, 1.0))
