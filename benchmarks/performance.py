"""docs/performance.md, written from what the benchmarks have left in benchmarks/measured.

    python benchmarks/performance.py

A row a target: what was measured beside it, or that nothing was. benchmarks/README.md has the form
of the files; a row whose name is no target's stands below the targets.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
MEASURED = Path(__file__).parent / "measured"
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_HEAD = """# How fast it is

Written by `python benchmarks/performance.py` from `benchmarks/measured/*.json`, which the commands
below leave with `--save`; what nobody has measured says so. Ratios are of two things that were
measured beside each other in one run; seconds are of CPU time, of all threads and child processes,
unless they say otherwise. Spread: lowest and highest of n rounds."""
_COLUMNS = ("what", "target", "measured", "spread", "n", "kept")


@dataclass(frozen=True)
class Target:
    """What is aimed at.

    Attributes:
        name: of the rows that measure it.
        words: what is measured.
        bound: ``<= 1.5`` or ``>= 10``, in ``unit``.
        unit: of the number; empty for a ratio.
    """

    name: str
    words: str
    bound: str
    unit: str = ""


PARTS: Mapping[str, Sequence[Target]] = {
    "The driver": (
        Target(
            "driver/random none/growth",
            "CPU of a trial, last hundreds of 10,000 against the first; random search",
            "<= 1.5",
        ),
        Target("driver/random asha/growth", "the same under ASHA", "<= 1.5"),
        Target(
            "driver/tpe asha/growth",
            "the same with TPE",
            "<= 1.5",
        ),
        Target("driver/random none/memory", "memory after 10,000 trials", "<= 1000", "MB"),
        Target("driver/random asha/memory", "the same under ASHA", "<= 1000", "MB"),
        Target(
            "driver/epochs",
            "epochs recorded in a second, the fsync left out",
            ">= 2000",
            "a second",
        ),
        Target("driver/written", "bytes written for each byte that is kept", "<= 1.2"),
    ),
    "The start": (
        Target("start/step", "command to first step, demo, base in the cache", "<= 12", "s"),
        Target("start/first dry run", "`--dry-run`, first start", "<= 15", "s"),
        Target("start/dry run", "`--dry-run`, second start", "<= 6", "s"),
        Target("start/help", "`--help`", "<= 0.2", "s"),
    ),
    "Analysis of 1,000 trials of 100 epochs, 7,000 validation images": (
        Target("analysis/load", "`analysis.load`", "<= 2", "s"),
        Target("analysis/select", "`select` with its correction", "<= 10", "s"),
        Target("analysis/select/memory", "the same, memory", "<= 1000", "MB"),
        Target("analysis/report", "report", "<= 30", "s"),
    ),
    "GPU": (
        Target(
            "gpu/loader",
            "images a second of energy fine-tuning, ResNet-20, over the plain DataLoader loop",
            ">= 10",
        ),
        Target(
            "gpu/step/resnet20",
            "the same over the graphed bf16 step on one resident batch, ResNet-20",
            ">= 0.5",
        ),
        Target("gpu/step/wrn40-2", "the same, WRN-40-2", ">= 0.5"),
        Target("gpu/step/resnet18", "the same, ResNet-18", ">= 0.5"),
        Target("gpu/step/nordf", "the same, NORD-F", ">= 0.5"),
        Target(
            "gpu/study",
            "12 trials, ResNet-20 at CIFAR-10's size, base in the cache; seconds on the clock",
            "<= 120",
            "s",
        ),
        Target(
            "gpu/bf16/fpr95",
            "FPR95, bf16 less fp32, far end of the 95 % interval, 5 seeds",
            "<= 1",
            "points",
        ),
        Target("gpu/bf16/accuracy", "ID accuracy, likewise", "<= 0.3", "points"),
    ),
}


def page(rows: Sequence[Row], parts: Mapping[str, Sequence[Target]] = PARTS) -> str:
    """The page's text.

    Args:
        rows: of all files, see benchmarks/README.md; of equal names the last counts.
        parts: heading -> targets.
    """
    by_name = {row["name"]: row for row in rows}
    text = [_HEAD]
    for title, targets in parts.items():
        found = [(target, by_name.pop(target.name, None)) for target in targets]
        text += [f"\n## {title}\n", *_table([_line(*one) for one in found])]
        text += _how([row for _, row in found if row])
    if by_name:
        others = [
            _line(Target(name, row["what"], row.get("target", ""), row.get("unit", "")), row)
            for name, row in by_name.items()
        ]
        text += ["\n## Beside the targets\n", *_table(others), *_how(list(by_name.values()))]
    return "\n".join(text) + "\n"


def _line(target: Target, row: Row | None) -> tuple[str, ...]:
    bound = f"{target.bound} {target.unit}".strip()
    if row is None:
        return target.words, bound, "not measured", "", "", ""
    unit = row.get("unit", "")
    assert unit == target.unit, f"{target.name} is in {unit!r}, its target in {target.unit!r}"
    spread = " to ".join(f"{one:.3g}" for one in row.get("spread") or ())
    measured = f"{_number(row['measured'])} {unit}".strip()
    told = "" if not target.bound else "yes" if _holds(row["measured"], target.bound) else "**no**"
    return target.words, bound, measured, spread, str(row["n"]), told


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _holds(value: float, bound: str) -> bool:
    sign, number = bound.split()
    return value <= float(number) if sign == "<=" else value >= float(number)


def _table(lines: list[tuple[str, ...]]) -> list[str]:
    rows = [_COLUMNS, tuple("---" for _ in _COLUMNS), *lines]
    return [f"| {' | '.join(row)} |" for row in rows]


def _how(rows: Sequence[Row]) -> list[str]:
    """Each command once, with the day and the machine."""
    told = dict.fromkeys((one["command"], one["date"], one["hardware"]) for one in rows)
    return [f"\n`{command}`, {date}, {hardware}" for command, date, hardware in told]


def read(folder: Path = MEASURED) -> list[Row]:
    """The rows of every file, by the files' names."""
    return [row for file in sorted(folder.glob("*.json")) for row in json.loads(file.read_text())]


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(read()), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
