"""``tune.first: [{m_in: -23, m_out: -5}]``: points that are tried before the searcher's.

A point names some of what is searched, each value as the section `train` would have it; the
searcher draws the rest. A margin may be of nats or a measured one, whatever it is searched in:
once the base is measured it is brought to the terms of the search, and to the nearest value there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from study.errors import NO_VALUE
from study.losses.margins import EnergyStats, MeasuredMargin, parse_margin, resolve_margin
from study.space.reading.places import Problem, nearest, same_value
from study.space.reading.yamlfile import KeyPath
from study.space.search.domains import Choice, Domain, Scalar
from study.space.search.search import Searched

_FORM = "Write {lr: 0.01}, or {m_in: -23, m_out: -5}: some of what is searched."


def problems(
    point: Any, search: Mapping[str, Searched], path: KeyPath, *, has_base: bool
) -> Iterator[Problem]:
    """What is wrong with one point.

    Args:
        point: as the YAML has it.
        search: what is searched, by its names in the YAML.
        path: where the point stands.
        has_base: whether there is a base on which margins can be measured.
    """
    if not isinstance(point, dict) or not point:
        yield Problem(path, "a first point names parameters that are searched", _FORM, point)
        return
    for name, value in point.items():
        entry = search.get(name)
        if entry is None:
            rule = "is not searched, so no first point can name it"
            yield Problem((*path, name), rule, nearest(str(name), search), value)
            continue
        for rule, way_out in _wrong(entry, value, has_base):
            yield Problem((*path, name), rule, way_out, value)
        if entry.when is not None and not entry.when.holds(point):
            rule = f"exists only where {_told(entry.when.plain())}, which the point does not say"
            yield Problem((*path, name), rule, "Name that too, or take this out.", value)


def _wrong(entry: Searched, value: Any, has_base: bool) -> Iterator[tuple[str, str]]:
    """Rule and way out where a value is none of its search."""
    try:
        own = own_value(entry, value)
    except PydanticCustomError as error:
        context = error.context or {}
        yield context["rule"], context["way_out"]
        return
    if own is NO_VALUE and not has_base:
        rule = "is given in other terms than it is searched in, and there is no base to measure it"
        yield rule, f"Write it as it is searched: {_told(entry.plain())}."
    elif own is not NO_VALUE and own not in entry.domain:
        rule = f"lies outside its search, {_told(entry.domain.plain())}"
        yield rule, "Give a value of the search, or widen the search."


def own_value(entry: Searched, value: Any) -> Any:
    """A value in the terms of its search; `NO_VALUE` where that takes the base's energies.

    Raises:
        PydanticCustomError: where a margin has no form of one.
    """
    if not entry.margin:
        return value
    margin = parse_margin(value)
    if not isinstance(margin, MeasuredMargin):
        return margin if entry.relation is None else NO_VALUE
    same = (margin.relation, margin.reference) == (entry.relation, entry.reference)
    return margin.sd if same else NO_VALUE


def on_base(entry: Searched, value: Any, stats: EnergyStats | None) -> tuple[Scalar, str]:
    """The value that is tried, and what to tell of it.

    Args:
        entry: what is searched.
        value: as a point has it.
        stats: energies of the base; None where no value needs them.

    Returns:
        A value of the domain; text where it is not the one that was asked for, else empty.
    """
    own = own_value(entry, value)
    if own is not NO_VALUE:
        return _of(entry.domain, own), ""
    assert stats is not None, "checked with the space"
    number = resolve_margin(parse_margin(value), stats)
    if entry.relation is not None and entry.reference is not None:
        mean = stats.at(entry.relation, entry.reference, 0)
        one = stats.at(entry.relation, entry.reference, 1) - mean
        number = (number - mean) / one if one else 0.0
    found = _nearest(entry.domain, number)
    ends = entry.range()
    if ends.low <= number <= ends.high:
        return found, ""
    unit = "nats" if entry.relation is None else f"sd {entry.relation} {entry.reference}"
    return found, f"{number:.3g} {unit} lies outside its search; {found} is tried"


def _of(domain: Domain, value: Any) -> Scalar:
    """A value of the domain, of its type."""
    if isinstance(domain, Choice):
        return next(one for one in domain.values if same_value(one, value))
    return domain.numeric(value)


def _nearest(domain: Domain, number: float) -> Scalar:
    if isinstance(domain, Choice):
        return min(domain.values, key=lambda one: abs(float(one or 0) - number))
    number = min(max(number, domain.low), domain.high)
    return (
        number if domain.step is None else domain.point(round((number - domain.low) / domain.step))
    )


def _told(form: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in form.items())
