"""Domains of searched parameters: what ``{uniform: [0, 6]}`` and its like stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from study.losses.margins import MarginRange, Reference, Relation
from study.space.reading.places import FaultList, nearest, same_value
from study.space.reading.yamlfile import KeyPath
from study.space.search.conditions import When

Scalar = bool | int | float | str | None
FORMS = "{uniform: [0, 1]}, {loguniform: [1.0e-4, 1.0e-2]}, {int: [1, 8]} or {choice: [a, b]}"
MAX_GRID = 100_000
MAX_STEPS = 10**9
MAX_INT = 2**53  # searchers draw in float64: above it not every whole number can be drawn


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What all that is searched has.

    Attributes:
        when: under which values of others it exists; None: always.
    """

    when: When | None = None

    def _plain(self, form: dict[str, Any]) -> dict[str, Any]:
        return form if self.when is None else {**form, "when": self.when.plain()}


@dataclass(frozen=True)
class Uniform(Searched):
    """Floats between two ends, both included; on multiples of ``step`` where there is one."""

    low: float
    high: float
    step: float | None = None

    def ends(self) -> tuple[Scalar, ...]:
        """The values between which all others lie."""
        return (self.low, self.high)

    def count(self) -> int | None:
        """Number of values; None where there is no end to them."""
        if self.step is None:
            return None
        return round((self.high - self.low) / self.step) + 1

    def points(self) -> Sequence[Scalar]:
        """Every value of a domain with a step (ValueError for one without)."""
        if self.step is None:
            raise ValueError(f"{self} has no countable values")
        return [self.point(number) for number in range(self.count() or 0)]

    def point(self, number: int) -> float:
        """The value ``number`` steps above the low end (ValueError without a step)."""
        if self.step is None:
            raise ValueError(f"{self} has no countable values")
        value = Fraction(str(self.low)) + number * Fraction(str(self.step))
        return min(float(value), self.high)

    def plain(self) -> dict[str, Any]:
        """The form of the YAML."""
        step = {} if self.step is None else {"step": self.step}
        return self._plain({"uniform": [self.low, self.high], **step})


@dataclass(frozen=True)
class LogUniform(Searched):
    """Floats between two positive ends, uniform in the logarithm."""

    low: float
    high: float

    def ends(self) -> tuple[Scalar, ...]:
        """The values between which all others lie."""
        return (self.low, self.high)

    def count(self) -> int | None:
        """None: there is no end to the values."""
        return None

    def points(self) -> Sequence[Scalar]:
        """There are none to list (ValueError)."""
        raise ValueError(f"{self} has no countable values")

    def plain(self) -> dict[str, Any]:
        """The form of the YAML."""
        return self._plain({"loguniform": [self.low, self.high]})


@dataclass(frozen=True)
class IntUniform(Searched):
    """Whole numbers between two ends, both included, ``step`` apart."""

    low: int
    high: int
    step: int = 1

    def ends(self) -> tuple[Scalar, ...]:
        """The values between which all others lie."""
        return (self.low, self.high)

    def count(self) -> int | None:
        """Number of values."""
        return (self.high - self.low) // self.step + 1

    def points(self) -> Sequence[Scalar]:
        """Every value."""
        return range(self.low, self.high + 1, self.step)

    def plain(self) -> dict[str, Any]:
        """The form of the YAML."""
        step = {} if self.step == 1 else {"step": self.step}
        return self._plain({"int": [self.low, self.high], **step})


@dataclass(frozen=True)
class Choice(Searched):
    """One of several values, without order."""

    values: tuple[Scalar, ...]

    def ends(self) -> tuple[Scalar, ...]:
        """Every value: a choice has no order, so none lies between others."""
        return self.values

    def count(self) -> int | None:
        """Number of values."""
        return len(self.values)

    def points(self) -> Sequence[Scalar]:
        """Every value."""
        return self.values

    def plain(self) -> dict[str, Any]:
        """The form of the YAML."""
        return self._plain({"choice": list(self.values)})


Domain = Uniform | LogUniform | IntUniform | Choice


def contains(domain: Domain, value: Any) -> bool:
    """Whether a value, of another study say, is one of the domain's."""
    if isinstance(domain, Choice):
        return any(same_value(value, one) for one in domain.values)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if not domain.low <= value <= domain.high:
        return False
    if isinstance(domain, LogUniform) or domain.step is None:
        return True
    if isinstance(domain, IntUniform):
        return isinstance(value, int) and (value - domain.low) % domain.step == 0
    nearest_one = domain.point(round((value - domain.low) / domain.step))
    return math.isclose(value, nearest_one, abs_tol=1e-12)


_KINDS = ("uniform", "loguniform", "int", "choice")


@dataclass(frozen=True)
class MarginSearch(Searched):
    """A searched margin: nats, or a searched number of the base's standard deviations.

    Attributes:
        relation: None for nats, else ``below`` or ``above``.
        reference: None for nats, else whose energies.
        domain: of the nats, or of the number of standard deviations.
    """

    relation: Relation | None
    reference: Reference | None
    domain: Domain

    def range(self) -> MarginRange:
        """All values that the margin can take."""
        ends = [float(end) for end in self.domain.ends() if end is not None]
        return MarginRange(self.relation, self.reference, min(ends), max(ends))

    def at(self, value: Scalar) -> Any:
        """The margin, in the YAML's form, at one value of the domain."""
        number = float(value) if value is not None else math.nan
        return number if self.relation is None else {self.relation: self.reference, "sd": number}

    def plain(self) -> dict[str, Any]:
        """The form of the YAML."""
        if self.relation is None:
            return self._plain({"absolute": self.domain.plain()})
        return self._plain({self.relation: self.reference, "sd": self.domain.plain()})


def parse_domain(raw: Any, path: KeyPath, faults: FaultList) -> Domain | None:
    """The domain that ``raw`` stands for; None where it is none, and ``faults`` says why.

    Args:
        raw: the YAML's form, such as ``{"uniform": [0, 6]}``.
        path: where it stands.
        faults: takes every fault of the domain.

    Returns:
        The domain, or None.
    """
    kind = _kind(raw, path, faults)
    if kind is None:
        return None
    step = raw.get("step")
    if kind == "choice":
        return _choice(raw[kind], (*path, kind), faults)
    ends = _ends(raw[kind], (*path, kind), faults, whole=kind == "int")
    if ends is None:
        return None
    low, high = ends
    if kind == "loguniform":
        if low > 0:
            return LogUniform(float(low), float(high))
        way_out = "Raise the low end above 0, or use uniform."
        faults.add((*path, kind), "a logarithm needs ends above 0", way_out, raw[kind])
        return None
    if "step" in raw and not _good_step(step, low, high, kind, path, faults):
        return None
    if kind == "int":
        return IntUniform(int(low), int(high), 1 if step is None else int(step))
    return Uniform(float(low), float(high), None if step is None else float(step))


def _kind(raw: Any, path: KeyPath, faults: FaultList) -> str | None:
    if not isinstance(raw, dict):
        if isinstance(raw, list):
            way_out = f"Name its kind, for example {{choice: {raw}}}."
        else:
            way_out = f"To keep it fixed put it into `train`; to search it write {FORMS}."
        faults.add(path, "a searched parameter needs a domain", way_out, raw)
        return None
    kinds = [key for key in raw if key in _KINDS]
    if len(kinds) != 1:
        unknown = next((key for key in raw if key not in _KINDS), None)
        hint = nearest(unknown, _KINDS) if unknown else ""
        way_out = f"{hint} Write {FORMS}.".strip()
        faults.add(path, "a domain is of one kind: " + ", ".join(_KINDS), way_out, raw)
        return None
    allowed = {kinds[0], *({"step"} if kinds[0] in {"uniform", "int"} else ())}
    extra = [key for key in raw if key not in allowed]
    for key in extra:
        rule = f"a {kinds[0]} domain has no key {key!r}"
        faults.add((*path, key), rule, f"Keys here: {', '.join(sorted(allowed))}.", raw[key])
    return None if extra else kinds[0]


def _choice(raw: Any, path: KeyPath, faults: FaultList) -> Choice | None:
    if not isinstance(raw, list):
        faults.add(path, "a choice is a list", "Write {choice: [a, b]}.", raw)
        return None
    if len(raw) < 2:
        way_out = "Add a second value, or fix the parameter in `train`."
        faults.add(path, "a choice needs at least two values", way_out, raw)
        return None
    good = True
    for i, value in enumerate(raw):
        if isinstance(value, list | dict):
            rule = "a choice is among plain values"
            faults.add((*path, i), rule, "Write numbers, words, true/false or null.", value)
            good = False
        elif any(same_value(value, other) for other in raw[:i]):
            faults.add((*path, i), "a choice lists each value once", "Take it out.", value)
            good = False
    return Choice(tuple(raw)) if good else None


def _ends(
    raw: Any, path: KeyPath, faults: FaultList, *, whole: bool
) -> tuple[float, float] | None:
    if not isinstance(raw, list) or len(raw) != 2:
        faults.add(path, "a range has two ends, [low, high]", "Write for example [0, 6].", raw)
        return None
    kind = int if whole else int | float
    for i, end in enumerate(raw):
        if isinstance(end, bool) or not isinstance(end, kind):
            noun = "whole number" if whole else "number"
            way_out = f"Write a {noun} without quotes."
            if whole and isinstance(end, float):
                way_out = "Write it without a point, or use uniform."
            faults.add((*path, i), f"an end of this range must be a {noun}", way_out, end)
            return None
        if abs(end) > (MAX_INT if whole else 1e300):
            rule = f"an end must lie within +-{'2^53' if whole else '1e300'}"
            faults.add((*path, i), rule, "Give one nearer to 0.", end)
            return None
    low, high = raw
    if low < high:
        return low, high
    way_out = "Give two different ends, or fix the value in `train`."
    if low > high:
        way_out = f"Write [{high}, {low}]."
    faults.add(path, "the low end must be below the high end", way_out, raw)
    return None


def _good_step(
    step: Any, low: float, high: float, kind: str, path: KeyPath, faults: FaultList
) -> bool:
    path = (*path, "step")
    noun = "whole number" if kind == "int" else "number"
    if isinstance(step, bool) or not isinstance(step, int if kind == "int" else int | float):
        faults.add(path, f"step must be a {noun} here", f"Write a {noun} above 0.", step)
    elif step <= 0:
        faults.add(path, "step must be above 0", "Give a positive step.", step)
    # Fractions of the decimals as written: 0.3 / 0.1 is not 3 in binary.
    elif (Fraction(str(high)) - Fraction(str(low))) % Fraction(str(step)):
        rule = f"steps must lead from {low} to {high} exactly"
        faults.add(path, rule, "Move an end or change the step.", step)
    elif (high - low) / step > MAX_STEPS:
        rule = f"from {low} to {high} there must be at most {MAX_STEPS:,} steps"
        faults.add(path, rule, "Raise it, or take it out.", step)
    else:
        return True
    return False
