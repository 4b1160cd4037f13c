"""``--set SECTION.KEY=VALUE`` and the options that set one key, laid over a space's plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from study.errors import BadInput, Fault
from study.options import SET, Override
from study.space.reading.places import FaultList, Wrong, wrong
from study.space.reading.yamlfile import KeyPath, dotted, parse

# Mappings from which null takes a key out -> the rule, and what the keys that are there are.
_TAKEN_OUT: dict[KeyPath, tuple[str, str]] = {
    ("search",): ("only a parameter that is searched can be taken out of the search", "Searched"),
    ("ablate", "factors"): ("only a factor can be taken out of an ablation", "Factors"),
}


def apply_overrides(
    data: dict[str, Any], overrides: Iterable[str | Override], faults: FaultList
) -> set[KeyPath]:
    """Lay overrides over ``data``, in place.

    ``search.NAME=null`` takes a parameter out of the search, ``ablate.factors.NAME=null`` a
    factor out of an ablation.

    Args:
        data: a space as plain data.
        overrides: texts ``SECTION.KEY=VALUE``, or ``Override``.
        faults: takes the faults; its places learn which option gave which key.

    Returns:
        The paths that were set.
    """
    done: set[KeyPath] = set()
    for item in overrides:
        override = _parse(item, faults) if isinstance(item, str) else item
        if override is None:
            continue
        path = _path(override.key)
        try:
            _check_order(path, done)
            _lay(data, path, override, faults)
        except Wrong as error:
            rule, way_out = error.problems[0].rule, error.problems[0].way_out
            fault = Fault(override.option, override.key, rule, way_out, override.value)
            faults.faults.append(fault)
        else:
            done.add(path)
    return done


def _check_order(path: KeyPath, done: set[KeyPath]) -> None:
    if path in done:
        raise wrong("the same key is set twice", "Keep one.")
    if undone := min((one for one in done if one[: len(path)] == path), default=()):
        rule = f"this would undo {dotted(undone)}, which is set before it"
        raise wrong(rule, "Give it first, or take one of the two out.")


def _parse(text: str, faults: FaultList) -> Override | None:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        rule = "an override has the form SECTION.KEY=VALUE"
        faults.faults.append(Fault(SET, "", rule, "For example --set train.lr=0.01.", text))
        return None
    try:
        document = parse(value, SET)
    except BadInput as bad:
        found = [replace(fault, key=key, value=value, line=None) for fault in bad.faults]
    else:
        found = [
            replace(fault, key=f"{key}.{fault.key}" if fault.key else key, line=None)
            for fault in document.faults
        ]
    faults.faults.extend(found)
    return None if found else Override(key, document.value)


def _path(key: str) -> KeyPath:
    parts = key.split(".")
    # A searched parameter outside `train` has a dot in its name: search.model.dropout. So have
    # factors, ablate.factors.model.dropout, and settings, ablate.factors.F.LEVEL.model.dropout.
    for where, above in ((1, ["search"]), (2, ["ablate", "factors"]), (4, ["ablate", "factors"])):
        there = parts[where : where + 1]
        if parts[: len(above)] == above and there in (["model"], ["base"]) and parts[where + 1 :]:
            parts[where : where + 2] = [".".join(parts[where : where + 2])]
    return tuple(parts)


def _lay(data: dict[str, Any], path: KeyPath, override: Override, faults: FaultList) -> None:
    *above, last = (str(part) for part in path)
    inner = data
    for depth, part in enumerate(above, start=1):
        if part not in inner:
            faults.places.options[path[:depth]] = override.option
        below = inner.setdefault(part, {})
        if not isinstance(below, dict):
            rule = f"{dotted(path[:depth])} is no mapping, so nothing below it can be set"
            raise wrong(rule, f"Set the whole: --set {dotted(path[:depth])}=...")
        inner = below
    if path[:-1] in _TAKEN_OUT and override.value is None:
        if last not in inner:
            rule, known = _TAKEN_OUT[path[:-1]]
            raise wrong(rule, f"{known}: {', '.join(inner) or 'none'}.")
        del inner[last]
        return
    inner[last] = override.value
    _forget(faults, path)
    faults.places.options[path] = override.option


def _forget(faults: FaultList, path: KeyPath) -> None:
    """Lines of the file that an override made void must not be told for its values."""
    lines = faults.places.lines
    for old in [old for old in lines if old[: len(path)] == path]:
        del lines[old]
