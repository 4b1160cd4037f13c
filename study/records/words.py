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
_ONCE: Mapping[str, Mapping[str, Any]] = {  # what specs did not say while there was nothing else
    "select": {"path": False, "penalty": None, "path_halvings": 0},
    "tune": {"finish": 0, "first": []},
}

_FORMER_SETTINGS = (
    ("dice", "dice_sparsity", 0.7),
    ("ash", "ash_pruned", 0.65),
    ("scale", "scale_pruned", 0.65),
)


def with_first_defaults(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a run's spec that says what it meant where an earlier version wrote nothing."""
    told = copy.deepcopy(dict(resolved))
    if "penalty" not in (told.get("select") or {}):
        _with_former_settings(told.get("train") or {})
    for section, meant in _ONCE.items():
        inner = told.get(section)
        if isinstance(inner, dict):
            told[section] = {**meant, **inner}
    return told


def _with_former_settings(train: dict[str, Any]) -> None:
    """What null meant of the detectors that a study had, before OpenOOD's settings."""
    named = {train.get("detector"), *(train.get("detectors") or ())}
    for detector, name, former in _FORMER_SETTINGS:
        if detector in named and train.get(name, former) is None:
            train[name] = former


def todays_words(told: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a space, or of a record with its keys, in the words of today."""
    return _replaced(told, {path: (first, now) for path, first, now in _RENAMED})


def first_words(told: Mapping[str, Any]) -> dict[str, Any]:
    """The same in the words that those keys had first, without what was meant unsaid."""
    first = _replaced(told, {path: (now, first) for path, first, now in _RENAMED})
    for section, meant in _ONCE.items():
        inner = first.get(section)
        if isinstance(inner, dict):
            unsaid = [key for key, value in meant.items() if inner.get(key, value) == value]
            first[section] = {key: inner[key] for key in inner if key not in unsaid}
    train = first.get("train")
    if isinstance(train, dict) and "penalty" not in (first.get("select") or {}):
        for _, name, former in _FORMER_SETTINGS:
            if train.get(name) == former:
                train[name] = None
    return first


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
