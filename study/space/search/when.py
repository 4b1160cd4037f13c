"""Reads ``when:`` of the searched parameters, and tells what cannot be meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from study.space.reading.places import FaultList, nearest, same_value
from study.space.reading.yamlfile import KeyPath
from study.space.search.conditions import Conditions, When, ancestors, points, representatives
from study.space.search.domains import Choice, Domain, MarginSearch

Search = Domain | MarginSearch
WHEN = "when"
_MOST_PARENTS = 8
_FORM = "Write when: {reconstruction: huber}, or a list of values: {reconstruction: [huber, l1]}."


def split_when(form: Any) -> tuple[Any, bool, Any]:
    """What is searched, whether it has a condition, and the condition as read."""
    if not isinstance(form, dict) or WHEN not in form:
        return form, False, None
    return {key: value for key, value in form.items() if key != WHEN}, True, form[WHEN]


def add_conditions(
    found: Mapping[str, Search], raw: Mapping[str, Any], faults: FaultList
) -> dict[str, Search]:
    """The searched parameters with their conditions.

    Args:
        found: those without a fault so far, by their names in the YAML.
        raw: the whole section ``search`` as read.
        faults: takes every fault.

    Returns:
        ``found``, each with its ``when`` where it has a good one.
    """
    before = len(faults.faults)
    conditions: dict[str, When] = {}
    for name in found:
        _, given, form = split_when(raw[name])
        when = _condition(name, form, found, raw, faults) if given else None
        if when is not None:
            conditions[name] = when
    if _round(conditions, faults):
        return dict(found)
    if len(faults.faults) == before:
        _never(conditions, found, faults)
    return {
        name: replace(entry, when=conditions[name]) if name in conditions else entry
        for name, entry in found.items()
    }


def _condition(
    name: str, form: Any, found: Mapping[str, Search], raw: Mapping[str, Any], faults: FaultList
) -> When | None:
    path: KeyPath = ("search", name, WHEN)
    if not isinstance(form, dict) or not form:
        rule = "a condition maps searched parameters to the values under which this one exists"
        faults.add(path, rule, _FORM, form)
        return None
    if len(form) > _MOST_PARENTS:
        rule = f"a condition is on {_MOST_PARENTS} parameters at most, and here are {len(form)}"
        faults.add(path, rule, "Name fewer.", form)
        return None
    parents = []
    for parent, wanted in form.items():
        values = _values(name, parent, wanted, found, raw, faults)
        if values:
            parents.append((str(parent), values))
    return When(tuple(parents)) if len(parents) == len(form) else None


def _values(
    name: str,
    parent: Any,
    wanted: Any,
    found: Mapping[str, Search],
    raw: Mapping[str, Any],
    faults: FaultList,
) -> tuple[Any, ...]:
    """The parent's values that the condition names; empty where it has a fault."""
    path: KeyPath = ("search", name, WHEN, parent)
    if parent == name:
        way_out = f"Name another parameter, or take `{WHEN}` out."
        faults.add(path, "a parameter cannot depend on itself", way_out, wanted)
        return ()
    if parent not in raw:
        others = [other for other in raw if other != name]
        hint = nearest(str(parent), others) if others else f"Search {parent} with a choice."
        faults.add(path, "a condition is on another searched parameter", hint, wanted)
        return ()
    entry = found.get(parent)
    if entry is None:
        return ()  # its own fault is told
    if not isinstance(entry, Choice):
        rule = f"a condition is on a choice, and {parent} is searched over a range"
        faults.add(path, rule, f"Write {parent}: {{choice: [...]}}.", wanted)
        return ()
    return _of_choice(parent, entry, wanted, path, split_when(raw[parent])[1], faults)


def _of_choice(
    parent: str, entry: Choice, wanted: Any, path: KeyPath, conditional: bool, faults: FaultList
) -> tuple[Any, ...]:
    values = wanted if isinstance(wanted, list) else [wanted]
    foreign = [v for v in values if not any(same_value(v, one) for one in entry.values)]
    if foreign or not values:
        rule = f"must be one or several of the values that {parent} can have"
        known = ", ".join(map(str, entry.values))
        faults.add(path, rule, f"{parent} is one of {known}.", wanted)
        return ()
    # In the parent's order and in its types, so that a dump is read back equal.
    kept = tuple(v for v in entry.values if any(same_value(v, one) for one in values))
    if len(values) > len(kept):
        faults.add(path, "a condition lists each value once", "Take it out.", wanted)
        return ()
    if len(kept) == len(entry.values) and not conditional:
        rule = f"the condition always holds: these are all values of {parent}"
        faults.add(path, rule, f"Leave some out, or take `{WHEN}` out.", wanted)
        return ()
    return kept


def _round(conditions: Conditions, faults: FaultList) -> bool:
    """Whether conditions go round in a circle, which is told at its first member."""
    for name in conditions:
        if name in ancestors([name], conditions):
            parents = ", ".join(parent for parent, _ in conditions[name].parents)
            rule = f"conditions go round: {name} depends on {parents}, which depends on {name}"
            way_out = f"Take one of their `{WHEN}` out."
            faults.add(("search", name, WHEN), rule, way_out, conditions[name].plain())
            return True
    return False


def _never(conditions: Conditions, found: Mapping[str, Search], faults: FaultList) -> None:
    for name in conditions:
        parents = ancestors([name], conditions)
        values = {n: found[n].values for n in found if n in parents}  # type: ignore[union-attr]
        known = {n: one for n, one in conditions.items() if n in values}
        each = points(representatives(values, conditions), known)
        if not any(conditions[name].holds(point) for point in each):
            rule = "the condition never holds: what it asks for excludes each other"
            way_out = f"Change it, or take {name} out of the search."
            faults.add(("search", name, WHEN), rule, way_out, conditions[name].plain())
            return
