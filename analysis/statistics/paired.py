"""Statistics of paired differences over few seeds: interval, exact p value, Holm's correction.

A percentile bootstrap over 3 seeds covers 74 % where it says 95, a t-interval covers 95; an exact
sign-flip p value of n pairs is never below 2 / 2^n. Both are why n stands beside every number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from study.scoring.intervals import Interval, percentile_interval
from study.seeding import numpy_generator

Floats = NDArray[np.float64]
Method = Literal["t", "bootstrap"]
BOOTSTRAP_FROM = 10  # pairs; below it the bootstrap's intervals are too narrow
NUM_RESAMPLES = 10_000
_EXACT_UP_TO = 36  # pairs: two halves of 2^18 sums each
_FLIPS = 100_000  # random ones beyond that
_ROUNDING = 1e-12  # relative; sums of the same numbers in another order differ by so much


@dataclass(frozen=True)
class Paired:
    """What n paired differences say; NaN where n is too small to say it.

    Attributes:
        n: number of pairs.
        mean: of the differences.
        sd: of the differences, ddof 1; from two pairs on.
        low: lower end of the interval of the mean; from two pairs on.
        high: upper end.
        method: of the interval; None where there is none.
        standardised: mean over sd (Cohen's d of paired samples); missing where sd is 0.
        p: exact two-sided sign-flip p value.
        p_floor: the least that p can be with n pairs, 2 / 2^n.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float
    method: Method | None
    standardised: float
    p: float
    p_floor: float


def paired(
    differences: Floats, *, level: float = 0.95, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Paired:
    """Summarise paired differences.

    Args:
        differences: (n,), one a seed, finite; n may be 0.
        level: coverage of the interval.
        num_resamples: of the bootstrap.
        seed: of its draws.
    """
    n, nan = len(differences), float("nan")
    if n == 0:
        return Paired(0, nan, nan, nan, nan, None, nan, nan, nan)
    mean = float(np.mean(differences))
    p, floor = sign_flip_p(differences, seed), _floor(n)
    if n == 1:
        return Paired(1, mean, nan, nan, nan, None, nan, p, floor)
    sd = float(np.std(differences, ddof=1))
    same = bool(np.ptp(differences) <= _ROUNDING * np.max(np.abs(differences)))
    method: Method = "t" if n < BOOTSTRAP_FROM else "bootstrap"
    low, high = (
        t_interval(differences, level)
        if method == "t"
        else bootstrap_interval(differences, level, num_resamples, seed)
    )
    return Paired(n, mean, sd, low, high, method, nan if same else mean / sd, p, floor)


def student(level: float, freedom: float) -> float:
    """Quantile of Student's t; of the normal distribution where ``freedom`` is infinite."""
    return float(stdtrit(freedom, level) if np.isfinite(freedom) else ndtri(level))


def t_interval(values: Floats, level: float = 0.95) -> Interval:
    """Student's interval of the mean of n >= 2 values, one a seed."""
    n, mean = len(values), float(np.mean(values))
    half = student((1 + level) / 2, n - 1) * float(np.std(values, ddof=1)) / n**0.5
    return Interval(mean - half, mean + half, level)


def bootstrap_interval(
    differences: Floats, level: float = 0.95, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Interval:
    """Percentile bootstrap of the mean, expanded for small n.

    A plain percentile interval is too narrow by sqrt((n - 1) / n) and by what parts the normal
    distribution from Student's; the percentiles are moved outwards by that (Hesterberg 2015,
    The American Statistician 69, section 4.3, "expanded percentile interval"). In 2,000
    simulations at n = 10 it covered 94 % of normal and 90 % of exponential differences.
    """
    n = len(differences)
    reach = student((1 + level) / 2, n - 1) * (n / (n - 1)) ** 0.5
    rng = numpy_generator(seed, "paired-bootstrap", n)
    means = differences[rng.integers(0, n, (num_resamples, n))].mean(axis=1)
    low, high = percentile_interval(means, 1 - 2 * float(ndtr(-reach)))
    return Interval(low, high, level)


def sign_flip_p(differences: Floats, seed: int = 0) -> float:
    """Two-sided p value of "the differences are symmetric around 0", every sign flipped.

    Exact up to 36 pairs: the share of the 2^n sign vectors whose sum is at least as far from 0
    as the observed one (Fisher's randomisation test). Beyond that 100,000 random flips, the
    observed one among them.

    Args:
        differences: (n,), n >= 1.
        seed: of the random flips.
    """
    observed = abs(float(np.sum(differences)))
    least = observed - _ROUNDING * float(np.sum(np.abs(differences)))
    if len(differences) > _EXACT_UP_TO:
        rng = numpy_generator(seed, "sign-flip", len(differences))
        flips = rng.choice([-1.0, 1.0], size=(_FLIPS, len(differences)))
        as_far = int((np.abs(flips @ differences) >= least).sum())
        return (as_far + 1) / (_FLIPS + 1)
    if least <= 0:
        return 1.0
    half = len(differences) // 2
    first, second = _all_sums(differences[:half]), np.sort(_all_sums(differences[half:]))
    # Pairs of half sums with a sum >= least; those <= -least are as many, by symmetry.
    above = len(second) - np.searchsorted(second, least - first, side="left")
    return float(2 * above.sum()) / 2.0 ** len(differences)


def _all_sums(values: Floats) -> Floats:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _floor(n: int) -> float:
    return max(2.0 ** (1 - n), 1 / (_FLIPS + 1) if n > _EXACT_UP_TO else 0.0)


def holm(p_values: Floats) -> Floats:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979).

    Args:
        p_values: (m,); NaN for what was not tested, which does not count and stays NaN.

    Returns:
        (m,) corrected p values, at most 1.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(p_values.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    steps = np.maximum.accumulate(p_values[order] * factors)
    corrected[order] = np.minimum(steps, 1.0)
    return corrected
