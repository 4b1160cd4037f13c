"""Where each value of a space came from, and the faults gathered against those places."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeGuard, TypeVar

from study.errors import NO_VALUE, BadInput, Fault
from study.space.reading.yamlfile import KeyPath, dotted

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Places:
    """The file and line, or the command-line option, that gave each key.

    Attributes:
        file: the file's name as the user knows it.
        lines: path -> 1-based line.
        options: path -> the option that overrode the file there.
    """

    file: str
    lines: dict[KeyPath, int] = field(default_factory=dict)
    options: dict[KeyPath, str] = field(default_factory=dict)

    def of(self, path: KeyPath) -> tuple[str, int | None]:
        """File (or option) and line of the nearest enclosing key of ``path``."""
        for length in range(len(path), 0, -1):
            part = path[:length]
            if part in self.options:
                return self.options[part], None
            if part in self.lines:
                return self.file, self.lines[part]
        return self.file, None


class Problem(NamedTuple):
    """What is wrong at a path of keys; with its place it is a fault.

    Attributes:
        path: where, from the top of the space, or from where a `Wrong` is gathered.
        rule: what must hold.
        way_out: what to do about it.
        value: the offending value; left out where there is none.
        about: parameters beside the one at ``path`` that the rule is about.
    """

    path: KeyPath
    rule: str
    way_out: str
    value: Any = NO_VALUE
    about: tuple[str, ...] = ()


class Wrong(Exception):
    """A form that cannot be read, with its problems; their paths are relative to the form."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__(*problems)


def wrong(rule: str, way_out: str, value: Any = NO_VALUE, at: KeyPath = ()) -> Wrong:
    """The error of one problem."""
    return Wrong(Problem(at, rule, way_out, value))


def each(items: Iterable[T], read: Callable[[T], R]) -> list[R]:
    """What ``read`` makes of each item.

    Raises:
        Wrong: with the problems of all where some are; with none where a part is told elsewhere.
    """
    found: list[R] = []
    wrongs: list[Wrong] = []
    for item in items:
        try:
            found.append(read(item))
        except Wrong as error:
            wrongs.append(error)
    if wrongs:
        raise Wrong(*(problem for one in wrongs for problem in one.problems))
    return found


def given_problem(raw: Mapping[str, Any], key: str, rule: str, way_out: str) -> Problem:
    """The problem of a key, with its value where the key is there."""
    return Problem((key,), rule, way_out, raw.get(key, NO_VALUE))


def unknown_keys(raw: Mapping[str, Any], known: Sequence[str], name: str) -> Iterator[Problem]:
    """Each key of the mapping ``name`` that is none of the known ones."""
    for key, value in raw.items():
        if key not in known:
            yield Problem((key,), f"`{name}` has no such key", nearest(key, known), value)


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether it is a whole number; true is none."""
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class _Gathering:
    faults: FaultList
    path: KeyPath

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Take what was raised, if it is a `Wrong`."""
        if isinstance(error, Wrong):
            self.faults.take(error.problems, self.path)
        return isinstance(error, Wrong)


@dataclass
class FaultList:
    """Gathers every fault of a space before anything stops.

    Attributes:
        places: where keys stand.
        faults: what is wrong.
        misread: dotted keys whose value could not be read; no second fault is told of those.
    """

    places: Places
    faults: list[Fault] = field(default_factory=list)
    misread: set[str] = field(default_factory=set)

    def add(self, path: KeyPath, rule: str, way_out: str, value: Any = NO_VALUE) -> None:
        """One more fault at ``path``."""
        if dotted(path) in self.misread:
            return
        place, line = self.places.of(path)
        self.faults.append(Fault(place, dotted(path), rule, way_out, value, line))

    def take(self, problems: Iterable[Problem], under: KeyPath = ()) -> None:
        """A fault for each problem; ``under`` is where their paths begin."""
        for path, rule, way_out, value, _ in problems:
            self.add((*under, *path), rule, way_out, value)

    def knows(self, problem: Problem) -> bool:
        """Whether this is told already, at the same path."""
        key = dotted(problem.path)
        return any((one.key, one.rule) == (key, problem.rule) for one in self.faults)

    def stop(self) -> None:
        """Stop where there is a fault: `BadInput` with all of them, in the order of lines."""
        if self.faults:
            order = sorted(self.faults, key=lambda fault: (fault.line is None, fault.line or 0))
            raise BadInput(list({str(fault): fault for fault in order}.values()))

    def gathering(self, path: KeyPath) -> _Gathering:
        """A block: the problems of what is `Wrong` in it are taken, at ``path``, and it ends."""
        return _Gathering(self, path)

    def under(self, *paths: KeyPath) -> bool:
        """Whether a fault is told at one of the paths or below it."""
        keys = [dotted(path) for path in paths]
        return any(
            fault.key == key or fault.key.startswith((f"{key}.", f"{key}["))
            for fault in self.faults
            for key in keys
        )


def nearest(word: str, known: Iterable[str]) -> str:
    """``Did you mean 'x'?`` where something is near, else the list of what is known."""
    names = list(known)
    return near(word, names) or f"Known: {', '.join(names)}."


def near(word: str, known: Iterable[str]) -> str:
    """``Did you mean 'x'?``; empty where nothing is near.

    A letter that no known name has is named: it may look like one of theirs.
    """
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    if not found:
        return ""
    foreign = next((letter for letter in word if not letter.isascii()), None)
    if foreign is None:
        return f"Did you mean {found[0]!r}?"
    name = unicodedata.name(foreign, f"U+{ord(foreign):04X}")
    return f"Did you mean {found[0]!r}? This one has {foreign!a}, {name}."


def same_value(one: Any, other: Any) -> bool:
    """Whether two plain values are one; true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
