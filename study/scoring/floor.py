"""How surely an ID accuracy lies above the floor, and how far it lies under it.

The accuracy of n validation images is an estimate. Its standard error is taken over source images
and, where the floor lies below the base's accuracy, over what each image makes better or worse
than the base does: the same images were seen by both, and most are right under both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Right = NDArray[np.bool_]
_NORMAL = NormalDist()
_FEW = 12
"""Among so many candidates a choice holds its floor about as often as each of them does."""


@dataclass(frozen=True, eq=False)
class Judged:
    """One state of a model held to the floor.

    Attributes:
        holds: probability that the true ID accuracy is the floor's or more, from the normal
            approximation: a p-value's complement, not a posterior.
        shortfall: how far the accuracy, or with a confidence its lower bound, lies under the
            floor, a fraction; 0 where the floor lets the state through.
    """

    holds: float
    shortfall: float

    @property
    def passes(self) -> bool:
        """Whether the floor lets the state through."""
        return self.shortfall == 0.0


@dataclass(frozen=True, eq=False)
class Floor:
    """The least ID accuracy of a candidate.

    Attributes:
        accuracy: the floor, a fraction.
        confidence: with what probability each state must hold it; None where the accuracy that
            was measured must reach it.
        base_right: which validation ID images the base predicts rightly, (N,), where the floor
            lies below the base's accuracy; None where it is absolute.
    """

    accuracy: float
    confidence: float | None = None
    base_right: Right | None = None

    def judge(self, right: Right, groups: NDArray[np.bytes_]) -> Judged:
        """Hold a model to the floor.

        Args:
            right: which validation ID images it predicts rightly, (N,).
            groups: source of each image, (N,).
        """
        margin = float(np.mean(right)) - self.accuracy
        values = right.astype(np.float64)
        if self.base_right is not None:
            values -= self.base_right
        error = standard_error(values, groups)
        holds = _NORMAL.cdf(margin / error) if error > 0 else float(margin >= 0)
        if self.confidence is not None:
            margin -= _NORMAL.inv_cdf(self.confidence) * error
        return Judged(holds, max(0.0, -margin))


def asked_of_each(confidence: float, num: int) -> float:
    """What each state is asked, that the choice among ``num`` holds its floor with ``confidence``.

    Of more candidates the best is the luckier one, so each is asked for more: its risk of lying
    under the floor is divided by sqrt(num / 12), no less than 1. Fitted to replayed searches on
    two recorded tables of real trials, where about as many choices truly stood above the floor
    as were asked for, from 8 trials to 64 (docs/search.md).

    Args:
        confidence: of the choice, in [0.5, 1).
        num: of candidates that are planned.
    """
    return 1 - (1 - confidence) / math.sqrt(max(1.0, num / _FEW))


def standard_error(values: NDArray[np.float64], groups: NDArray[Any]) -> float:
    """Of the mean of ``values``, where those of one group are one draw.

    The ratio estimator of cluster sampling (Cochran, Sampling Techniques, 1977, section 9A): the
    sum of each group against what its size lets expect. NaN-free: 0 with fewer than two groups.
    """
    _, group = np.unique(groups, return_inverse=True)
    num = int(group.max()) + 1
    if num < 2:
        return 0.0
    excess = np.bincount(group, weights=values - values.mean(), minlength=num)
    return math.sqrt(float(excess @ excess) * num / (num - 1)) / len(values)
