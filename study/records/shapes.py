"""What the sections of a spec and a manifest are, so that a damaged one is told, not stumbled on.

Who reads a run asks for values deep inside; this says once where a section must be and what the
numbers are that a choice goes by. Knows neither torch nor Ray.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.errors import Fault

_RESTORE = "Restore it from a copy."
OF_SPEC: Mapping[str, type] = dict.fromkeys(
    ("data", "model", "base", "train", "search", "tune", "select", "ablate", "select.floor"), dict
) | {"select.metric": str, "select.checkpoint": str, "select.confirm": dict, "ablate.seeds": list}
OF_MANIFEST: Mapping[str, type] = dict.fromkeys(
    (
        *("data", "data.plan", "data.roles", "data.leak_check", "data.test_fingerprints"),
        *("base", "base.spec", "base.metrics", "other_bases", "initial", "pretrained_on"),
        *("floor", "git", "versions", "hardware", "seeds", "environment"),
        "warm_start",
    ),
    dict,
) | {
    "floor.value": float,
    "floor.confidence": float,
    "floor.confidence_of_choice": float,
    "own_score": str,
    "resumed": list,
}
_WORDS = {dict: "a section", str: "a text", float: "a number", list: "a list"}


def misshapen(path: Path, content: Any, shapes: Mapping[str, type]) -> list[Fault]:
    """Every entry that is there and of another kind than it is written as.

    Args:
        path: of the file, for messages.
        content: of it, as plain values; null stands for what a study does not have.
        shapes: `OF_SPEC` or `OF_MANIFEST`.
    """
    if not isinstance(content, Mapping):
        return [Fault(str(path), "", "holds no sections", _RESTORE)]
    faults = []
    for key, kind in shapes.items():
        value: Any = content
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None and not _is(value, kind):
            faults.append(Fault(str(path), key, f"must be {_WORDS[kind]}", _RESTORE, value))
    return faults


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind)
