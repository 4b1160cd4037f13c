"""What earlier versions wrote, read in spaces and records as what is written today.

``cifar10`` once was a recipe and an initialisation as well as a data set.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

_RENAMED = (  # where a value stands, its first word, today's
    (("recipe",), "cifar10", "classifier"),
    (("model", "init"), "cifar10", "base"),
)


_ONCE = (  # what specs did not say while there was nothing else
    (("select",), {"path": False, "penalty": None}),
)


def with_first_defaults(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a run's spec that says what it meant where an earlier version wrote nothing."""
    told = copy.deepcopy(dict(resolved))
    for path, meant in _ONCE:
        inner: Any = told
        for part in path:
            inner = inner.get(part) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner.update({key: value for key, value in meant.items() if key not in inner})
    return told


def todays_words(told: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a space, or of a record with its keys, in the words of today."""
    return _replaced(told, {path: (first, now) for path, first, now in _RENAMED})


def first_words(told: Mapping[str, Any]) -> dict[str, Any]:
    """The same in the words that those keys had first."""
    return _replaced(told, {path: (now, first) for path, first, now in _RENAMED})


def _replaced(
    told: Mapping[str, Any], words: Mapping[tuple[str, ...], tuple[str, str]]
) -> dict[str, Any]:
    copied = copy.deepcopy(dict(told))
    for (*above, key), (old, new) in words.items():
        inner: Any = copied
        for part in above:
            inner = inner.get(part) if isinstance(inner, dict) else None
        if isinstance(inner, dict) and inner.get(key) == old:
            inner[key] = new
    return copied
