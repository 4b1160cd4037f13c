"""Points of a space as numbers in [0, 1] on the scale that they are searched on, and back."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

Floats = NDArray[np.float64]
Point = Mapping[str, Any]
Distributions = Mapping[str, BaseDistribution]


def in_unit_cube(points: Sequence[Point], distributions: Distributions) -> Floats:
    """A row a point. Choices of numbers keep their order; of words each has a column."""
    columns = []
    for name, one in distributions.items():
        values = [point[name] for point in points]
        if isinstance(one, CategoricalDistribution):
            columns += _of_choices(values, one)
            continue
        low, high = _ends(one)
        columns.append((np.array([_scaled(one, value) for value in values]) - low) / (high - low))
    return np.stack(columns, axis=1)


def _of_choices(values: Sequence[Any], one: CategoricalDistribution) -> list[Floats]:
    choices = list(one.choices)
    if all(isinstance(choice, int | float) for choice in choices):
        places = np.array([choices.index(value) for value in values], dtype=np.float64)
        return [places / max(len(choices) - 1, 1)]
    # Of two words one column says it all.
    told = choices[1:] if len(choices) == 2 else choices
    return [np.array([value == choice for value in values], dtype=np.float64) for choice in told]


def _ends(one: Any) -> tuple[float, float]:
    return _scaled(one, one.low), _scaled(one, one.high)


def _scaled(one: BaseDistribution, value: Any) -> float:
    log = isinstance(one, FloatDistribution) and one.log
    return float(np.log(value)) if log else float(value)


def at_share(one: BaseDistribution, share: float) -> Any:
    """The value that lies at ``share``, in [0, 1), of a domain."""
    if isinstance(one, CategoricalDistribution):
        return one.choices[int(share * len(one.choices))]
    low, high = _ends(one)
    value = low + share * (high - low)
    if isinstance(one, FloatDistribution):
        return float(np.exp(value)) if one.log else value
    return round(value)


def points_at(shares: Floats, distributions: Distributions) -> list[Point]:
    """A point for each row of shares in [0, 1), a column a parameter."""
    return [
        {name: at_share(one, row[k]) for k, (name, one) in enumerate(distributions.items())}
        for row in shares
    ]


def grid(distributions: Distributions, levels: int) -> list[Point]:
    """So many values of every range, in the middle of equal parts of it, with every choice."""
    shares = []
    for one in distributions.values():
        several = len(one.choices) if isinstance(one, CategoricalDistribution) else levels
        shares.append((np.arange(several) + 0.5) / several)
    return points_at(np.array(list(itertools.product(*shares))), distributions)
