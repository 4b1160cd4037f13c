"""Where each value of a space came from, and the faults gathered against those places."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from study.errors import Fault
from study.space.reading.yamlfile import KeyPath, dotted

_NOTHING = object()


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

    def add(self, path: KeyPath, rule: str, way_out: str, value: Any = _NOTHING) -> None:
        """One more fault at ``path``."""
        if dotted(path) in self.misread:
            return
        place, line = self.places.of(path)
        extra = {} if value is _NOTHING else {"value": value}
        self.faults.append(Fault(place, dotted(path), rule, way_out, line=line, **extra))

    def add_unknown(self, path: KeyPath, raw: Mapping[str, Any], known: Sequence[str]) -> None:
        """A fault for each key of the section at ``path`` that is none of the known ones."""
        for key, value in raw.items():
            if key not in known:
                rule = f"`{path[-1]}` has no such key"
                self.add((*path, key), rule, nearest(key, known), value)

    def under(self, path: KeyPath) -> bool:
        """Whether a fault is told at ``path`` or below it."""
        key = dotted(path)
        return any(f.key == key or f.key.startswith((f"{key}.", f"{key}[")) for f in self.faults)


def nearest(word: str, known: Iterable[str]) -> str:
    """``Did you mean 'x'?`` where something is near, else the list of what is known.

    A letter that no known name has is named: it may look like one of theirs.
    """
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.7)
    if not near:
        return f"Known: {', '.join(names)}."
    foreign = next((letter for letter in word if not letter.isascii()), None)
    if foreign is None:
        return f"Did you mean {near[0]!r}?"
    name = unicodedata.name(foreign, f"U+{ord(foreign):04X}")
    return f"Did you mean {near[0]!r}? This one has {foreign!a}, {name}."


def same_value(one: Any, other: Any) -> bool:
    """Whether two plain values are one; true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
