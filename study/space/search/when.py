"""Reads ``when:`` of the searched parameters, and tells what cannot be meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.space.reading.places import FaultList, Problem, Wrong, nearest, same_value, wrong
from study.space.search.conditions import Conditions, When, ancestors, points, representatives
from study.space.search.domains import Choice, Domain

WHEN = "when"
_MOST_PARENTS = 8
_FORM = "Write when: {reconstruction: huber}, or a list of values: {reconstruction: [huber, l1]}."


def without_when(form: Any) -> Any:
    """What is searched, without its condition."""
    if not isinstance(form, dict):
        return form
    return {key: value for key, value in form.items() if key != WHEN}


def has_when(form: Any) -> bool:
    """Whether what is searched has a condition."""
    return isinstance(form, dict) and WHEN in form


def read_conditions(
    found: Mapping[str, Domain], raw: Mapping[str, Any], faults: FaultList
) -> dict[str, When]:
    """The conditions of the searched parameters.

    Args:
        found: domains without a fault so far, by their names in the YAML.
        raw: the whole section ``search`` as read.
        faults: takes every fault.

    Returns:
        Those that are good, by the parameter that each is of.
    """
    before = len(faults.faults)
    conditions: dict[str, When] = {}
    for name in found:
        if has_when(raw[name]):
            with faults.gathering(("search", name, WHEN)):
                conditions[name] = _condition(name, raw[name][WHEN], found, raw)
    for name in (name for name in conditions if name in ancestors([name], conditions)):
        parents = ", ".join(parent for parent, _ in conditions[name].parents)
        rule = f"conditions go round: {name} depends on {parents}, which depends on {name}"
        way_out = f"Take one of their `{WHEN}` out."
        faults.add(("search", name, WHEN), rule, way_out, conditions[name].plain())
        return {}
    if len(faults.faults) == before:
        with faults.gathering(("search",)):
            _check_never(conditions, found)
    return conditions


def _condition(name: str, form: Any, found: Mapping[str, Domain], raw: Mapping[str, Any]) -> When:
    if not isinstance(form, dict) or not form:
        rule = "a condition maps searched parameters to the values under which this one exists"
        raise wrong(rule, _FORM, form)
    if len(form) > _MOST_PARENTS:
        rule = f"a condition is on {_MOST_PARENTS} parameters at most, and here are {len(form)}"
        raise wrong(rule, "Name fewer.", form)
    parents: list[tuple[str, tuple[Any, ...]]] = []
    problems: list[Problem] = []
    for parent, wanted in form.items():
        try:
            parents.append((parent, _values(name, parent, wanted, found, raw)))
        except Wrong as error:
            problems += error.problems
    if len(parents) < len(form):  # a parent's own fault, which is told there, has no problem here
        raise Wrong(*problems)
    return When(tuple(parents))


def _values(
    name: str, parent: str, wanted: Any, found: Mapping[str, Domain], raw: Mapping[str, Any]
) -> tuple[Any, ...]:
    """The parent's values that the condition names, in its order and in its types."""
    at = (parent,)
    if parent == name:
        way_out = f"Name another parameter, or take `{WHEN}` out."
        raise wrong("a parameter cannot depend on itself", way_out, wanted, at)
    if parent not in raw:
        others = [other for other in raw if other != name]
        hint = nearest(parent, others) if others else f"Search {parent} with a choice."
        raise wrong("a condition is on another searched parameter", hint, wanted, at)
    entry = found.get(parent)
    if entry is None:
        raise Wrong
    if not isinstance(entry, Choice):
        rule = f"a condition is on a choice, and {parent} is searched over a range"
        raise wrong(rule, f"Write {parent}: {{choice: [...]}}.", wanted, at)
    values = wanted if isinstance(wanted, list) else [wanted]
    if not values or not all(value in entry for value in values):
        rule = f"must be one or several of the values that {parent} can have"
        way_out = f"{parent} is one of {', '.join(map(str, entry.values))}."
        raise wrong(rule, way_out, wanted, at)
    kept = tuple(v for v in entry.values if any(same_value(v, one) for one in values))
    if len(values) > len(kept):
        raise wrong("a condition lists each value once", "Take it out.", wanted, at)
    if len(kept) == len(entry.values) and not has_when(raw[parent]):
        rule = f"the condition always holds: these are all values of {parent}"
        raise wrong(rule, f"Leave some out, or take `{WHEN}` out.", wanted, at)
    return kept


def _check_never(conditions: Conditions, found: Mapping[str, Domain]) -> None:
    for name, condition in conditions.items():
        parents = ancestors([name], conditions)
        values = {n: entry.ends() for n, entry in found.items() if n in parents}
        known = {n: one for n, one in conditions.items() if n in values}
        each = points(representatives(values, conditions), known)
        if not any(condition.holds(point) for point in each):
            rule = "the condition never holds: what it asks for excludes each other"
            way_out = f"Change it, or take {name} out of the search."
            raise wrong(rule, way_out, condition.plain(), (name, WHEN))
