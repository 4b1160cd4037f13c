"""Domains of searched parameters: what ``{uniform: [0, 6]}`` and its like stand for.

A class a kind, which reads its form, writes it, and says what its values are, to a grid, to a
generator and to Optuna.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from study.space.reading.places import Problem, Wrong, nearest, same_value, wrong

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Scalar = bool | int | float | str | None
RANGES = "{uniform: [0, 1]}, {loguniform: [1.0e-4, 1.0e-2]}, {int: [1, 8]}"
FORMS = f"{RANGES} or {{choice: [a, b]}}"
MAX_GRID = 100_000
MAX_STEPS = 10**9
MAX_INT = 2**53  # searchers draw in float64: above it not every whole number can be drawn


@dataclass(frozen=True)
class Uniform:
    """Floats between two ends, both included; on multiples of ``step`` where there is one."""

    low: float
    high: float
    step: float | None = None

    kind: ClassVar[str] = "uniform"
    keys: ClassVar[tuple[str, ...]] = ("step", "uniform")
    numeric: ClassVar[type[float]] = float

    @classmethod
    def read(cls, form: Mapping[str, Any]) -> Self:
        """The range, its ends in order and whole steps apart."""
        low, high = _ends(form[cls.kind], (cls.kind,), whole=cls.numeric is int)
        step = [_step(form["step"], low, high, cls)] if "step" in form else []
        return cls(*(cls.numeric(number) for number in (low, high, *step)))

    def ends(self) -> tuple[Scalar, ...]:
        """The values between which all others lie."""
        return (self.low, self.high)

    def count(self) -> int | None:
        """Number of values; None without a step."""
        if self.step is None:
            return None
        return round((_exact(self.high) - _exact(self.low)) / _exact(self.step)) + 1

    def point(self, number: int) -> Scalar:
        """The value ``number`` steps above the low end (ValueError without a step)."""
        if self.step is None:
            raise ValueError(f"{self} has no countable values")
        return min(float(_exact(self.low) + number * _exact(self.step)), self.high)

    def __contains__(self, value: Any) -> bool:
        """Whether it is a number between the ends, on a step where there is one."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        inside = self.low <= value <= self.high
        if self.step is None or not inside:
            return inside
        number = round((value - self.low) / self.step)
        return math.isclose(value, float(self.point(number) or 0), abs_tol=1e-12)

    def points(self) -> Sequence[Scalar]:
        """Every value (ValueError without a step)."""
        return [self.point(number) for number in range(self.count() or 1)]

    def drawn(self, generator: np.random.Generator) -> Scalar:
        """A random value."""
        if self.step is None:
            return float(generator.uniform(self.low, self.high))
        return self.point(int(generator.integers(self.count() or 1)))

    def distribution(self) -> BaseDistribution:
        """Optuna's distribution over the same values."""
        from optuna.distributions import FloatDistribution  # half a second, of a study alone

        return FloatDistribution(self.low, self.high, step=self.step)

    def plain(self) -> dict[str, Any]:
        """The form of the YAML; a step where it is not the kind's own."""
        step = {} if self.step == type(self).step else {"step": self.step}
        return {self.kind: [self.low, self.high], **step}


@dataclass(frozen=True)
class IntUniform(Uniform):
    """Whole numbers between two ends, both included, ``step`` apart."""

    low: int
    high: int
    step: int = 1

    kind: ClassVar[str] = "int"
    keys: ClassVar[tuple[str, ...]] = ("int", "step")
    numeric: ClassVar[type[float]] = int

    def point(self, number: int) -> int:
        """The value ``number`` steps above the low end."""
        return self.low + number * self.step

    def __contains__(self, value: Any) -> bool:
        """Whether it is a whole number between the ends, on a step."""
        on_step = isinstance(value, int) and (value - self.low) % self.step == 0
        return on_step and not isinstance(value, bool) and self.low <= value <= self.high

    def distribution(self) -> BaseDistribution:
        """Optuna's distribution over the same values."""
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high, step=self.step)


@dataclass(frozen=True)
class LogUniform(Uniform):
    """Floats between two positive ends, uniform in the logarithm."""

    kind: ClassVar[str] = "loguniform"
    keys: ClassVar[tuple[str, ...]] = ("loguniform",)

    @classmethod
    def read(cls, form: Mapping[str, Any]) -> Self:
        """The range, its ends in order and above 0."""
        read = super().read(form)
        if read.low <= 0:
            way_out = "Raise the low end above 0, or use uniform."
            raise wrong("a logarithm needs ends above 0", way_out, form[cls.kind], (cls.kind,))
        return read

    def drawn(self, generator: np.random.Generator) -> Scalar:
        """A random value, uniform in the logarithm."""
        value = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        return min(max(value, self.low), self.high)

    def distribution(self) -> BaseDistribution:
        """Optuna's distribution over the same values."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=True)


@dataclass(frozen=True)
class Choice:
    """One of several values, without order."""

    values: tuple[Scalar, ...]

    kind: ClassVar[str] = "choice"
    keys: ClassVar[tuple[str, ...]] = ("choice",)

    @classmethod
    def read(cls, form: Mapping[str, Any]) -> Self:
        """Two or more plain values, each once."""
        raw, path = form[cls.kind], (cls.kind,)
        if not isinstance(raw, list):
            raise wrong("a choice is a list", "Write {choice: [a, b]}.", raw, path)
        if len(raw) < 2:
            way_out = "Add a second value, or fix the parameter in `train`."
            raise wrong("a choice needs at least two values", way_out, raw, path)
        problems = []
        for i, value in enumerate(raw):
            if isinstance(value, list | dict):
                rule = "a choice is among plain values"
                way_out = "Write numbers, words, true/false or null."
                problems.append(Problem((*path, i), rule, way_out, value))
            elif any(same_value(value, other) for other in raw[:i]):
                rule = "a choice lists each value once"
                problems.append(Problem((*path, i), rule, "Take it out.", value))
        if problems:
            raise Wrong(*problems)
        return cls(tuple(raw))

    def ends(self) -> tuple[Scalar, ...]:
        """Every value: a choice has no order, so none lies between others."""
        return self.values

    def count(self) -> int | None:
        """Number of values."""
        return len(self.values)

    def points(self) -> Sequence[Scalar]:
        """Every value."""
        return self.values

    def drawn(self, generator: np.random.Generator) -> Scalar:
        """A random value."""
        return self.values[int(generator.integers(len(self.values)))]

    def __contains__(self, value: Any) -> bool:
        """Whether it is one of the values."""
        return any(same_value(value, one) for one in self.values)

    def distribution(self) -> BaseDistribution:
        """Optuna's distribution over the same values."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def plain(self) -> dict[str, Any]:
        """The form of the YAML."""
        return {self.kind: list(self.values)}


Domain = Uniform | Choice
_ALL: tuple[type[Uniform] | type[Choice], ...] = (Uniform, LogUniform, IntUniform, Choice)
KINDS: Mapping[str, type[Uniform] | type[Choice]] = {one.kind: one for one in _ALL}
"""The tag of a form -> the domain that reads it."""


def read_domain(form: Any) -> Domain:
    """The domain that a form of the YAML, such as ``{"uniform": [0, 6]}``, stands for.

    Raises:
        Wrong: with every problem of the form.
    """
    if not isinstance(form, dict):
        way_out = f"To keep it fixed put it into `train`; to search it write {FORMS}."
        if isinstance(form, list):
            way_out = f"Name its kind, for example {{choice: {form}}}."
        raise wrong("a searched parameter needs a domain", way_out, form)
    tags = [key for key in form if key in KINDS]
    if len(tags) != 1:
        unknown = next((key for key in form if key not in KINDS), None)
        hint = nearest(unknown, KINDS) if unknown else ""
        way_out = f"{hint} Write {FORMS}.".strip()
        raise wrong("a domain is of one kind: " + ", ".join(KINDS), way_out, form)
    kind = KINDS[tags[0]]
    way_out = f"Keys here: {', '.join(kind.keys)}."
    extra = [
        Problem((key,), f"a {kind.kind} domain has no key {key!r}", way_out, form[key])
        for key in form
        if key not in kind.keys
    ]
    if extra:
        raise Wrong(*extra)
    return kind.read(form)


def _exact(number: float) -> Fraction:
    """A number as its decimals are written: 0.3 / 0.1 is not 3 in binary."""
    return Fraction(str(number))


def _ends(raw: Any, path: tuple[str], *, whole: bool) -> tuple[float, float]:
    if not isinstance(raw, list) or len(raw) != 2:
        raise wrong("a range has two ends, [low, high]", "Write for example [0, 6].", raw, path)
    for i, end in enumerate(raw):
        if isinstance(end, bool) or not isinstance(end, int if whole else int | float):
            noun = "whole number" if whole else "number"
            way_out = f"Write a {noun} without quotes."
            if whole and isinstance(end, float):
                way_out = "Write it without a point, or use uniform."
            raise wrong(f"an end of this range must be a {noun}", way_out, end, (*path, i))
        if abs(end) > (MAX_INT if whole else 1e300):
            rule = f"an end must lie within +-{'2^53' if whole else '1e300'}"
            raise wrong(rule, "Give one nearer to 0.", end, (*path, i))
    low, high = raw
    if low >= high:
        way_out = "Give two different ends, or fix the value in `train`."
        if low > high:
            way_out = f"Write [{high}, {low}]."
        raise wrong("the low end must be below the high end", way_out, raw, path)
    return low, high


def _step(step: Any, low: float, high: float, kind: type[Uniform]) -> Any:
    noun = "whole number" if kind.numeric is int else "number"
    if isinstance(step, bool) or not isinstance(step, int if kind.numeric is int else int | float):
        rule, way_out = f"step must be a {noun} here", f"Write a {noun} above 0."
    elif step <= 0:
        rule, way_out = "step must be above 0", "Give a positive step."
    elif (_exact(high) - _exact(low)) % _exact(step):
        rule = f"steps must lead from {low} to {high} exactly"
        way_out = "Move an end or change the step."
    elif (high - low) / step > MAX_STEPS:
        rule = f"from {low} to {high} there must be at most {MAX_STEPS:,} steps"
        way_out = "Raise it, or take it out."
    else:
        return step
    raise wrong(rule, way_out, step, ("step",))
