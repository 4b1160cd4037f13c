"""Intervals of numbers that were resampled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtrit


@dataclass(frozen=True)
class Interval:
    """An interval of a number.

    Attributes:
        low: lower end.
        high: upper end.
        level: nominal coverage, such as 0.95.
    """

    low: float
    high: float
    level: float = 0.95

    def __iter__(self) -> Iterator[float]:
        """``low, high``."""
        yield self.low
        yield self.high


def percentile_interval(values: NDArray[np.float64], level: float = 0.95) -> Interval:
    """Percentile interval of bootstrap values, shape (B,)."""
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return Interval(float(low), float(high), level)


Scale = Literal["share", "area", "difference"]
_EDGE = 1e-6  # of an area: its logit has no end


def image_interval(
    point: float,
    values: NDArray[np.float64],
    num_sources: int,
    scale: Scale = "share",
    *,
    num_seeds: int = 0,
    of_seeds: float = 0.0,
) -> Interval:
    """95 % interval of a metric from its resamples over the sources of images, and over seeds.

    Percentiles of a bootstrap are too narrow where sources are few, by sqrt(n / (n - 1)) and by
    what parts Student's distribution from the normal one, and an area's errors are skewed. So it
    is point -+ t sd on a scale where errors are even: asin(sqrt(x)) of a share such as FPR95,
    logit(x) of an area such as AUROC, as it is of a difference. `benchmarks/coverage.py areas`
    measures what it covers. Of a mean over seeds t has Satterthwaite's degrees of freedom: two or
    three seeds say little of their own spread.

    Args:
        point: on all images, in [0, 1]; of a difference in [-1, 1].
        values: of the resamples, (B,).
        num_sources: what was drawn, of the smaller of the two classes; 2 at least count.
        scale: what kind of number it is.
        num_seeds: over how many models ``values`` are means, each with seeds drawn anew.
        of_seeds: share of the variance of ``values`` that the draws of the seeds made.
    """
    num = max(2, num_sources)
    images = (1 - of_seeds) * num / (num - 1)
    unsure = images**2 / (num - 1) + (of_seeds**2 / (num_seeds - 1) if num_seeds > 1 else 0.0)
    freedom = (images + of_seeds) ** 2 / unsure
    reach = float(stdtrit(freedom, 0.975)) * (images + of_seeds) ** 0.5
    if scale == "difference":
        half = reach * float(values.std())
        return Interval(max(-1.0, point - half), min(1.0, point + half))
    if scale == "area":
        middle, drawn = (logit(np.clip(one, _EDGE, 1 - _EDGE)) for one in (point, values))
        ends = expit([middle - reach * drawn.std(), middle + reach * drawn.std()])
        low, high = (float(end) for end in ends)
        return Interval(min(low, point), max(high, point))
    middle, drawn = (np.arcsin(np.sqrt(np.clip(one, 0, 1))) for one in (point, values))
    ends = np.clip([middle - reach * drawn.std(), middle + reach * drawn.std()], 0, np.pi / 2)
    low, high = (float(np.sin(end) ** 2) for end in ends)
    return Interval(low, high)
