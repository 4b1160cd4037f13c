"""``when: {reconstruction: huber}``: a parameter that exists under some values of another.

A point of a search has the parameters that exist in it and no others. One that does not exist
has its default in training, and no value in the tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from study.space.reading.places import FaultList, Wrong, each, nearest, same_value, wrong
from study.space.search.domains import Choice, Domain

WHEN = "when"
_MOST_PARENTS = 8
_FORM = "Write when: {reconstruction: huber}, or a list of values: {reconstruction: [huber, l1]}."
Point = dict[str, Any]


@dataclass(frozen=True)
class When:
    """The condition under which a parameter exists.

    Attributes:
        parents: other searched parameter -> the values of it that let this one exist; with
            several, all must have one. A parent that does not exist itself lets nothing exist.
    """

    parents: tuple[tuple[str, tuple[Any, ...]], ...]

    def holds(self, point: Mapping[str, Any]) -> bool:
        """Whether it holds in a point that has all that exists of the parents."""
        return all(
            name in point and any(same_value(point[name], value) for value in values)
            for name, values in self.parents
        )

    def renamed(self, name_of: Callable[[str], str]) -> When:
        """The same under other names of the parents."""
        return When(tuple((name_of(name), values) for name, values in self.parents))

    def plain(self) -> dict[str, Any]:
        """The form of the YAML."""
        return {
            name: values[0] if len(values) == 1 else list(values) for name, values in self.parents
        }


Conditions = Mapping[str, When]
"""Parameter -> its condition; one that always exists has none."""


def in_order(names: Iterable[str], conditions: Conditions) -> list[str]:
    """The names as they are, but for parents, which come before what hangs on them."""
    left, ordered = list(names), []
    while left:
        free = next(n for n in left if not {p for p, _ in _parents(n, conditions)} & set(left))
        left.remove(free)
        ordered.append(free)
    return ordered


def _parents(name: str, conditions: Conditions) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    return conditions[name].parents if name in conditions else ()


def ancestors(names: Iterable[str], conditions: Conditions) -> set[str]:
    """All that decides whether some of ``names`` exist; they themselves only where they do."""
    found: set[str] = set()
    left = list(names)
    while left:
        new = {parent for parent, _ in _parents(left.pop(), conditions)} - found
        found |= new
        left += new
    return found


def existing(point: Mapping[str, Any], conditions: Conditions) -> Point:
    """A point without what its own values do not let exist."""
    kept: Point = {}
    for name in in_order(point, conditions):
        if _is_in(name, kept, conditions):
            kept[name] = point[name]
    return {name: kept[name] for name in point if name in kept}


def _is_in(name: str, point: Mapping[str, Any], conditions: Conditions) -> bool:
    """Whether a parameter exists in a point that has all of its parents that do."""
    return name not in conditions or conditions[name].holds(point)


def points(values: Mapping[str, Sequence[Any]], conditions: Conditions) -> Iterator[Point]:
    """Every point once, the last name moving fastest; names in each as ``values`` has them.

    Args:
        values: parameter -> the values to go through; all parents are among them.
        conditions: of those that do not always exist.
    """
    order = in_order(values, conditions)

    def extended(point: Point, depth: int) -> Iterator[Point]:
        if depth == len(order):
            yield {name: point[name] for name in values if name in point}
            return
        name = order[depth]
        if not _is_in(name, point, conditions):
            yield from extended(point, depth + 1)
            return
        for value in values[name]:
            yield from extended({**point, name: value}, depth + 1)

    return extended({}, 0)


def representatives(
    values: Mapping[str, Sequence[Any]], conditions: Conditions
) -> dict[str, list[Any]]:
    """For each parameter, one value of those that no condition tells from one another.

    Enough to see which parameters can exist together, whatever the length of choices.
    """
    wanted: dict[str, list[tuple[Any, ...]]] = {name: [] for name in values}
    for condition in conditions.values():
        for parent, lets in condition.parents:
            if parent in wanted:
                wanted[parent].append(lets)
    found: dict[str, list[Any]] = {}
    for name, choices in values.items():
        kinds: dict[tuple[bool, ...], Any] = {}
        for value in choices:
            kind = tuple(any(same_value(value, o) for o in lets) for lets in wanted[name])
            kinds.setdefault(kind, value)
        found[name] = list(kinds.values())
    return found


def num_points(values: Mapping[str, Sequence[Any]], conditions: Conditions, most: int) -> int:
    """Number of ``points``, exact up to ``most``; parents beyond that are not gone through.

    Ranges count by their length alone, so that a large grid costs nothing to count.
    """
    parents = ancestors(values, conditions)
    combinations = math.prod(len(values[name]) for name in parents)
    if combinations > most:
        return combinations
    others = {name: choices for name, choices in values.items() if name not in parents}
    return sum(
        math.prod(len(others[name]) for name in others if _is_in(name, point, conditions))
        for point in points({n: values[n] for n in values if n in parents}, conditions)
    )


def without_when(form: Any) -> Any:
    """What is searched, without its condition."""
    return {key: form[key] for key in form if key != WHEN} if isinstance(form, dict) else form


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
    parents = each(form, lambda parent: (parent, _values(name, parent, form[parent], found, raw)))
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
        raise Wrong  # its own fault is told there
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
