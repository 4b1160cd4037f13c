"""How good what searches found is: against the best there is, and against one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from replay.cube import Floats, points_at
from replay.truth import Truth
from replay.ways import Way, could_hold
from study.seeding import numpy_generator

_DRAWN, _KEPT, _ROUNDS = 8_000, 40, 4
_RESAMPLES = 4_000


def best_there_is(truth: Truth, way: Way) -> float:
    """The lowest true FPR95 of any state that a way may score and that holds the floor.

    With the way's confidence, where it has one: seen as it is, the state would pass. Found by
    random points, then by ever smaller steps around the best of them.
    """
    generator = numpy_generator(0, "best there is")
    distributions = truth.table.distributions
    base = truth.table.base["accuracy"]
    shares = generator.random((_DRAWN, len(distributions)))
    best = np.inf
    for round_ in range(_ROUNDS):
        every = slice(None)
        states = truth.at(points_at(shares, distributions)).part(every, every, way.columns)
        holding = could_hold(states, base, way.confidence)
        values = np.where(holding, states.fpr95, np.inf).min(axis=(1, 2))
        best = min(best, float(values.min()))
        kept = shares[np.argsort(values)[:_KEPT]]
        around = np.repeat(kept, _DRAWN // _KEPT // 4, axis=0)
        steps = generator.normal(scale=0.1 * 0.5**round_, size=around.shape)
        shares = np.clip(around + steps, 0, 1 - 1e-9)
    return best


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval over seeds."""

    mean: float
    low: float
    high: float

    def points(self) -> str:
        """In percent points, with the interval."""
        mean, low, high = (100 * value for value in (self.mean, self.low, self.high))
        return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def interval(values: Sequence[float] | Floats) -> Interval:
    """Percentile bootstrap of the mean over seeds."""
    told = np.asarray(values, dtype=np.float64)
    drawn = numpy_generator(0, "seeds").integers(len(told), size=(_RESAMPLES, len(told)))
    means = told[drawn].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(told.mean()), float(low), float(high))
