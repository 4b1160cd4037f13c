"""``when: {reconstruction: huber}``: a parameter that exists under some values of another.

A point of a search has the parameters that exist in it and no others. One that does not exist
has its default in training, and no value in the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from study.space.reading.places import same_value

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
        if name not in conditions or conditions[name].holds(kept):
            kept[name] = point[name]
    return {name: kept[name] for name in point if name in kept}


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
        if name in conditions and not conditions[name].holds(point):
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
    combinations = 1
    for name in parents:
        combinations *= len(values[name])
    if combinations > most:
        return combinations
    total = 0
    for point in points({n: v for n, v in values.items() if n in parents}, conditions):
        product = 1
        for name, choices in values.items():
            there = name not in conditions or conditions[name].holds(point)
            product *= len(choices) if there and name not in parents else 1
        total += product
    return total
