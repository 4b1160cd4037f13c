"""Margins of the energy loss: plain numbers, or measured against a base model's energies.

Energies are in nats, lower = more ID. The loss acts on ID images above ``m_in`` and on outliers
below ``m_out``, so ``m_in`` has to stay below ``m_out``. A measured margin is the base's mean
energy on a reference, minus (``below``) or plus (``above``) a number of its standard deviations,
so that one space fits any network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

Relation = Literal["below", "above"]
Reference = Literal["id_energy", "outlier_energy"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
REFERENCES: tuple[Reference, ...] = get_args(Reference)
FORM = "a number, or {below: id_energy, sd: 2}, or {above: outlier_energy, sd: 0}"


@dataclass(frozen=True)
class EnergyStats:
    """Energies of a base model, in nats: on validation ID images and on outliers.

    Raises:
        ValueError: if a number is not finite or a standard deviation is negative.
    """

    id_mean: float
    id_sd: float
    outlier_mean: float
    outlier_sd: float

    def __post_init__(self) -> None:
        """Refuse what no margin can be measured against."""
        numbers = (self.id_mean, self.id_sd, self.outlier_mean, self.outlier_sd)
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"energies of the base are not finite: {self}")
        if self.id_sd < 0 or self.outlier_sd < 0:
            raise ValueError(f"a standard deviation is negative: {self}")

    def at(self, relation: Relation, reference: Reference, sd: float) -> float:
        """The energy that lies ``sd`` standard deviations below or above a reference's mean."""
        mean, spread = (
            (self.id_mean, self.id_sd)
            if reference == "id_energy"
            else (self.outlier_mean, self.outlier_sd)
        )
        return mean - sd * spread if relation == "below" else mean + sd * spread


@dataclass(frozen=True)
class MeasuredMargin:
    """``{below: id_energy, sd: 2}``: a margin that the base model's energies decide."""

    relation: Relation
    reference: Reference
    sd: float

    def plain(self) -> dict[str, Any]:
        """The form of the YAML."""
        return {self.relation: self.reference, "sd": self.sd}


def resolve_margin(margin: float | MeasuredMargin, stats: EnergyStats) -> float:
    """The margin in nats.

    Args:
        margin: a number of nats, or a measured margin.
        stats: energies of the base.

    Returns:
        Nats.
    """
    if isinstance(margin, MeasuredMargin):
        return stats.at(margin.relation, margin.reference, margin.sd)
    return margin


def parse_reference(raw: dict[str, Any]) -> tuple[Relation, Reference]:
    """The relation and the reference of a measured margin's mapping.

    Raises:
        PydanticCustomError: if the mapping has another form.
    """
    given = [relation for relation in RELATIONS if relation in raw]
    unknown = [key for key in raw if key not in {*RELATIONS, "sd"}]
    if unknown:
        raise _fault(f"a margin has no key {unknown[0]!r}", f"A margin is {FORM}.")
    if len(given) != 1 or "sd" not in raw:
        rule = "a measured margin has one of `below` and `above`, and `sd`"
        raise _fault(rule, f"A margin is {FORM}.")
    reference = raw[given[0]]
    if reference not in REFERENCES:
        rule = f"`{given[0]}` takes a reference: {' or '.join(REFERENCES)}"
        way_out = f"Not {reference!r}; for a number of nats write the number alone."
        raise _fault(rule, way_out)
    return given[0], cast(Reference, reference)


def parse_margin(raw: Any) -> float | MeasuredMargin:
    """A margin from its YAML form.

    Raises:
        PydanticCustomError: if it is none.
    """
    if isinstance(raw, MeasuredMargin):
        return raw
    if isinstance(raw, dict):
        relation, reference = parse_reference(raw)
        return MeasuredMargin(relation, reference, _finite(raw["sd"], "sd"))
    return _finite(raw, "a margin")


def _finite(raw: Any, what: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise _fault(f"{what} must be a number", f"A margin is {FORM}.")
    if not math.isfinite(raw):
        raise _fault(f"{what} must be finite", f"A margin is {FORM}.")
    return float(raw)


def _fault(rule: str, way_out: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{rule}. {way_out}", {"rule": rule, "way_out": way_out})


def _plain(margin: float | MeasuredMargin) -> float | dict[str, Any]:
    return margin.plain() if isinstance(margin, MeasuredMargin) else margin


Margin = Annotated[float | MeasuredMargin, PlainValidator(parse_margin), PlainSerializer(_plain)]
"""The type of a margin in a recipe's parameters; dumps to its YAML form."""


@dataclass(frozen=True)
class MarginRange:
    """All values that a margin can take in a study.

    Attributes:
        relation: None for a margin in nats, else how it is measured.
        reference: what it is measured against; None for nats.
        low: least value: of nats, or of the number of standard deviations.
        high: greatest value, the same.
    """

    relation: Relation | None
    reference: Reference | None
    low: float
    high: float

    @classmethod
    def of(cls, margin: float | MeasuredMargin) -> MarginRange:
        """The range of a margin that is fixed."""
        if isinstance(margin, MeasuredMargin):
            return cls(margin.relation, margin.reference, margin.sd, margin.sd)
        return cls(None, None, margin, margin)

    def in_nats(self, stats: EnergyStats) -> tuple[float, float]:
        """Least and greatest energy, once the base is measured."""
        if self.relation is None or self.reference is None:
            return self.low, self.high
        ends = [stats.at(self.relation, self.reference, sd) for sd in (self.low, self.high)]
        return min(ends), max(ends)

    def offsets(self) -> tuple[float, float]:
        """Least and greatest signed number of standard deviations from the reference."""
        return (-self.high, -self.low) if self.relation == "below" else (self.low, self.high)


def crossing(
    m_in: MarginRange,
    m_out: MarginRange,
    stats: EnergyStats | None = None,
    other_key: str = "train.m_out",
) -> tuple[str, str] | None:
    """Rule and way out of margins that can cross, anywhere in their ranges.

    Args:
        m_in: values that ``m_in`` can take.
        m_out: values that ``m_out`` can take.
        stats: energies of the base; None before it is measured, when only two absolute margins,
            or two that are measured against one reference, can be compared.
        other_key: dotted key of ``m_out``.

    Returns:
        Both, or None where every ``m_in`` lies below every ``m_out`` or nobody knows yet.
    """
    if stats is not None:
        high, low, unit = m_in.in_nats(stats)[1], m_out.in_nats(stats)[0], " nats"
    elif m_in.relation is None and m_out.relation is None:
        high, low, unit = m_in.high, m_out.low, ""
    elif m_in.reference is not None and m_in.reference == m_out.reference:
        high, low = m_in.offsets()[1], m_out.offsets()[0]
        unit = f" standard deviations from {m_in.reference}"
    else:
        return None
    if high < low:
        return None
    highest = "" if m_in.low == m_in.high else "high "
    lowest = "" if m_out.low == m_out.high else "low "
    rule = f"{highest}{high:.6g}{unit} must stay below {other_key}: {lowest}{low:.6g}{unit}"
    return rule, _way_apart(m_in, m_out, stats)


def _way_apart(m_in: MarginRange, m_out: MarginRange, stats: EnergyStats | None) -> str:
    if stats is None:
        return "Lower m_in's high or raise m_out's low (the paper used -23 and -5)."
    measured = (
        f"The base has {stats.id_mean:.3g} ± {stats.id_sd:.2g} on validation ID and "
        f"{stats.outlier_mean:.3g} ± {stats.outlier_sd:.2g} on outliers."
    )
    if m_in.relation == "below":
        return f"{measured} Raise the least sd of m_in, or train the base longer."
    if m_out.relation == "above":
        return f"{measured} Lower m_in, or raise the least sd of m_out."
    return f"{measured} Lower m_in, or raise m_out."
