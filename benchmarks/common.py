"""What the benchmarks share: options, how a table was measured, data of CIFAR-10's size."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from study.data.images import ImageSet
from study.data.plan import make_plan
from study.data.roles import (
    OODValidation,
    Outliers,
    StudyData,
    ValidationID,
    split_validation,
)
from study.space.loading import load_space

IMAGE_SIZE = 32
NUM_CLASSES = 10
CIFAR10_IMAGES = 50_000  # split_validation cuts a tenth off for validation, as a study does
OUTLIERS = 19_440
OOD_IMAGES = 1_944


def options(doc: str | None, *, data: bool = False) -> argparse.ArgumentParser:
    """A parser with ``--quick``, ``--rounds`` and, where asked for, ``--data-root``."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="does it run: no number is meant")
    parser.add_argument("--rounds", type=int, help="how often each side is measured")
    parser.add_argument("--save", action="store_true", help="for docs/performance.md")
    if data:
        parser.add_argument("--data-root", type=Path, help="real images; random pixels without")
    return parser


def say_how(packages: Sequence[str], facts: str) -> None:
    """Print versions, cores, the machine's load at the start, and ``facts``."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {versions}")
    print(f"{cores} cores, load {load:.1f} before the start (near 0 for a result to quote)")
    print(f"{facts}\n", flush=True)


def save_rows(benchmark: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Leave what was measured for docs/performance.md; benchmarks/README.md has the form.

    Rows of the same names that were left before are written over, others stay.

    Args:
        benchmark: name of the file, such as ``driver``.
        rows: name, measured, unit, n and spread of each, and what and target where the name is no
            target's.
    """
    path = Path(__file__).parent / "measured" / f"{benchmark}.json"
    # Folders of one's own machine are nobody's business.
    told = ["FOLDER" if Path(one).is_absolute() else one for one in sys.argv[1:]]
    how = {
        "command": shlex.join(["python", f"benchmarks/{benchmark}.py", *told]),
        "hardware": f"{len(os.sched_getaffinity(0))} cores of {_processor()}",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    before = json.loads(path.read_text()) if path.exists() else []
    every = {row["name"]: row for row in (*before, *({**row, **how} for row in rows))}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(list(every.values()), indent=2) + "\n", encoding="utf-8")


def _processor() -> str:
    """The processor's name, as Linux tells it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, the first row as the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        first, *rest = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)]
        print("  ".join(cells))
        if number == 0:
            print("  ".join("-" * width for width in widths))


@dataclass(frozen=True)
class Spread:
    """Median and range of some measurements."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    def text(self, digits: int) -> str:
        """``median [lowest, highest]``."""
        low, high = min(self.values), max(self.values)
        return f"{self.median:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def verdict(kept: bool) -> str:
    """One word for the last line of a table."""
    return "kept" if kept else "MISSED"


def study_data(root: Path | None, *, share: float = 1.0) -> StudyData:
    """A study's roles: from ``root`` as the space energy reads it, else random pixels.

    Args:
        root: as ``--data-root`` of ``run_study.py``.
        share: of CIFAR-10's size that random pixels are made in, (0, 1].
    """
    if root is not None:
        section = load_space("energy", data_root=root).data
        return make_plan(section, "cifar10", root).load_study(section)
    train, val_id = split_validation(_random("train", CIFAR10_IMAGES, share), 0.1, 0)
    return StudyData(
        train=train,
        val_id=val_id,
        outliers=Outliers(_random("outliers", OUTLIERS, share, labelled=False)),
        ood_val=OODValidation({"ood": _random("ood", OOD_IMAGES, share, labelled=False)}),
        num_classes=NUM_CLASSES,
        demo=False,
    )


def with_small_validation(data: StudyData, num_images: int) -> StudyData:
    """The same training roles with ``num_images`` of validation ID and of one OOD set.

    For what trains but does not measure validation.
    """
    name, ood = next(iter(data.ood_val.sets.items()))
    few = np.arange(num_images)
    return replace(
        data,
        val_id=ValidationID(data.val_id.images.take(few)),
        ood_val=OODValidation({name: ood.take(few)}),
    )


def _random(name: str, num_images: int, share: float, *, labelled: bool = True) -> ImageSet:
    number = max(64, round(num_images * share))
    generator = np.random.default_rng([len(name), number])
    shape = (number, IMAGE_SIZE, IMAGE_SIZE, 3)
    pixels = generator.integers(0, 256, size=shape, dtype=np.uint8)
    labels = np.arange(number) % NUM_CLASSES if labelled else None
    return ImageSet.make(name, pixels, labels=labels, provenance="random pixels")
