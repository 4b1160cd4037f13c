"""Intervals of numbers that were resampled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
