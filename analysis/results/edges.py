"""Parameters whose best values lie at an edge of what was searched, and the range to try next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.numbers import parameter_label
from analysis.statistics.surrogate import Floats, space_of
from analysis.tables import Records
from study.scoring.objective import OBJECTIVE
from study.seeding import numpy_generator

LOW, HIGH = "lowest", "highest"
_EDGE = 0.2  # share of a range that is its edge
_BEST, _FEWEST_BEST = 1 / 6, 3  # share of the trials that are the best ones, and at least so many
_FEWEST_LEVELS = 3  # of two numbers each is an end
_LEVEL = 0.1  # studies with a false alarm, over all parameters and both ends
_DRAWS = 20_000
_RANGES = ("uniform", "loguniform", "int")
_KINDS = (*_RANGES, "choice")


@dataclass(frozen=True)
class Edge:
    """A parameter whose best trials crowd at one end of what was searched.

    Attributes:
        parameter: column of the trials.
        at: ``LOW`` or ``HIGH``.
        num_there: best trials at that end.
        num_best: best trials that have the parameter.
        part: what counts as the end, in words.
        searched: the domain as the space declares it.
        next_domain: the domain to search next, in the same form.
    """

    parameter: str
    at: str
    num_there: int
    num_best: int
    part: str
    searched: str
    next_domain: str

    @property
    def text(self) -> str:
        """As a sentence."""
        return (
            f"{parameter_label(self.parameter)}: {self.num_there} of the {self.num_best} best "
            f"trials lie {self.part} of {self.searched}. Try {self.next_domain} next."
        )


@dataclass(frozen=True)
class _Axis:
    """A domain with two ends.

    Attributes:
        kind: of the domain, as a space names it.
        values: its two ends, or every number to choose from, ascending.
        step: between whole numbers, or where the domain has one.
    """

    kind: str
    values: tuple[float, ...]
    step: float | None = None

    def on_scale(self, values: Any) -> Floats:
        """Values on the scale that is searched evenly; of a choice their places among all."""
        numbers = np.asarray(values, dtype=np.float64)
        if self.kind == "choice":
            return np.searchsorted(self.values, numbers).astype(np.float64)
        return np.log10(numbers) if self.kind == "loguniform" else numbers

    def places(self, values: Any) -> Floats:
        """Values as shares of the way from the low end to the high one."""
        low, high = self.on_scale([self.values[0], self.values[-1]])
        return np.asarray((self.on_scale(values) - low) / (high - low))

    def drawn(self, rng: np.random.Generator, size: tuple[int, int]) -> Floats:
        """Places of random values of the domain."""
        if self.kind == "choice":
            return rng.integers(len(self.values), size=size) / (len(self.values) - 1)
        if self.step:
            num = round((self.values[-1] - self.values[0]) / self.step)
            return rng.integers(num + 1, size=size) / num
        return rng.uniform(size=size)

    def edge(self) -> tuple[float, str]:
        """How far from an end, as a share, a value still lies at it; and that in words."""
        if self.kind == "choice":
            return 0.0, "at the {} choice"
        return _EDGE, f"in the {{}} {100 * _EDGE:.0f} %"

    def form(self) -> str:
        """The domain in the words of a space."""
        return f"{{{self.kind}: [{', '.join(map(_short, self.values))}]}}"

    def moved(self, at: str) -> _Axis:
        """The domain moved towards an end."""
        if self.kind == "choice":
            return _Axis(self.kind, tuple(_levels_beyond(self.values, at)))
        return _Axis(self.kind, tuple(_range_beyond(self.kind, self.on_scale(self.values), at)))


def edges(study: Records, metric: str = OBJECTIVE) -> list[Edge]:
    """Parameters with most of the best trials at an end, further out than luck puts them.

    The best are the first sixth by the rank of ``metric``, three at least, of the trials that can
    be compared at one budget (``analysis.statistics.surrogate.space_of``); an end is the outer
    fifth of a range, or the outermost of three or more numbers to choose from. The mean place of
    the best is held against random draws of the domain, corrected over parameters and ends: one
    study in ten tells an edge where no parameter matters. A searcher that homes in crowds by
    itself, but where it thinks that the best lie.

    Raises:
        BadInput: where too few trials can be compared, or nothing was searched.
    """
    space = space_of(study, metric)
    axes = {column: _axis(study.domain(column)) for column in space.columns}
    known = {column: axis for column, axis in axes.items() if axis is not None}
    order = np.argsort(space.cost, kind="stable")
    best = order[: max(_FEWEST_BEST, round(_BEST * len(order)))]
    found = []
    for column, axis in known.items():
        values = pd.to_numeric(space.values[column].iloc[best], errors="coerce").dropna()
        if not len(values):
            continue  # a parameter that none of the best has
        rng = numpy_generator(study.seed, "edges", column)
        luck = axis.drawn(rng, (_DRAWS, len(values))).mean(axis=1)
        low_places = axis.places(values)
        reach, part = axis.edge()
        for at, places in ((LOW, low_places), (HIGH, 1 - low_places)):
            there = int((places <= reach + 1e-9).sum())
            chance = float((luck <= places.mean() + 1e-9).mean())  # the ends are alike to luck
            if 2 * there > len(places) and chance * 2 * len(known) <= _LEVEL:
                told = (there, len(places), part.format(at), axis.form(), axis.moved(at).form())
                found.append(Edge(column, at, *told))
    return found


def _axis(domain: Mapping[str, Any]) -> _Axis | None:
    """None for a domain without ends: words, truth values, or two numbers."""
    forms = [domain, *(one for one in domain.values() if isinstance(one, Mapping))]
    kind, inner = next(((k, one) for one in forms for k in _KINDS if k in one), ("", domain))
    if kind in _RANGES:
        low, high = (float(one) for one in inner[kind])
        return _Axis(kind, (low, high), 1 if kind == "int" else inner.get("step"))
    choice = inner.get("choice", ())
    numbers = {one for one in choice if isinstance(one, int | float) and not isinstance(one, bool)}
    if len(numbers) != len(choice) or len(numbers) < _FEWEST_LEVELS:
        return None
    return _Axis(kind, tuple(sorted(numbers)))


def _range_beyond(kind: str, ends: Floats, at: str) -> list[float]:
    """The range moved by half of its width; 0 and 1 are taken for ends that nature gives."""
    low, high = map(float, ends)
    shift = (high - low) / 2 * (-1 if at == LOW else 1)
    moved = [low + shift, high + shift]
    if kind == "loguniform":
        return [10**one for one in moved]
    least = -math.inf if low < 0 else 1.0 if kind == "int" and low >= 1 else 0.0
    most = 1.0 if low >= 0 and high == 1 else math.inf
    moved = [min(max(one, least), most) for one in moved]
    return [math.floor(moved[0]), math.ceil(moved[1])] if kind == "int" else moved


def _levels_beyond(levels: Sequence[float], at: str) -> list[float]:
    """One more number at the end, one less at the other; by ratio where all are above 0."""
    inward = levels if at == LOW else levels[::-1]
    first, second = inward[0], inward[1]
    new = first**2 / second if min(levels) > 0 else 2 * first - second
    return sorted([new, *inward[:-1]])


def _short(value: float) -> str:
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:.2g}"
