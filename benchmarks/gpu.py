"""What a GPU does with training: speed, trials at once, numerics, the same bits, memory.

    benchmarks/gpu.sh [--rehearse] [--only PART ...] [--minutes M] [--out FILE]

Each part is a process with a time limit of its own, so that one that hangs, or dies with its
CUDA context, costs the others nothing. Parts, the most wanted first:

- steps: images a second of `study.training.loop.train`, of the plain loop that people write (a
  DataLoader, float32, ``.item()`` every step), and of the graphed bf16 step on one resident batch.
- bits: a trial twice with ``deterministic: true``, which ``--replay`` compares; once without.
- memory: a trial that runs out of memory fails as that, and the next one in the process trains.
- together: one, two and four trials at once, as a study probes them.
- numerics: bf16 against fp32 over paired seeds, on made-up pictures.
- study: twelve trials through the command line, where Ray and the rest are there.

Numbers go to ``benchmarks/measured/gpu.json``, or ``--out``; a rehearsal leaves them nowhere else.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from gpu_parts import LIMITS_S, ROOT, TINY, Row, Sizes, measured

NEEDS = ("pydantic", "safetensors")
STUDY_NEEDS = ("ray", "optuna", "yaml", "pandas", "scipy", "sklearn")


def main() -> int:
    """Run the parts, print one table, leave a JSON; 1 where a check failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, tiny")
    parser.add_argument("--only", nargs="+", choices=LIMITS_S, default=list(LIMITS_S))
    parser.add_argument("--minutes", type=float, default=8.0, help="in all")
    parser.add_argument("--out", type=Path, help="the JSON; benchmarks/measured/gpu.json")
    parser.add_argument("--part", choices=LIMITS_S, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        for row in measured(options.part, TINY if options.rehearse else Sizes("cuda")):
            print(json.dumps(row), flush=True)
        return 0
    if not options.rehearse and not torch.cuda.is_available():
        print("no GPU that torch can use; --rehearse runs everything on the CPU", file=sys.stderr)
        return 2
    rows, notes = run_parts(options.only, options.minutes * 60, rehearse=options.rehearse)
    told = [with_circumstances(row, rehearse=options.rehearse) for row in rows]
    out = options.out or (None if options.rehearse else ROOT / "benchmarks/measured/gpu.json")
    if out is not None:
        save(told, out)
    print(table(rows))
    print("\n".join(notes))
    return int(any(row["name"].startswith("gpu/check/") and not row["measured"] for row in rows))


def save(rows: Sequence[Row], path: Path) -> None:
    """Leave the rows; those that another run has left under other names stay."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    told = {row["name"]: row for row in (*before, *rows)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(told.values()), indent=2) + "\n", encoding="utf-8")


def run_parts(
    parts: Sequence[str], seconds: float, *, rehearse: bool
) -> tuple[list[Row], list[str]]:
    """What the parts have told within so many seconds, and what is left out and why."""
    rows: list[Row] = []
    notes: list[str] = []
    end = time.monotonic() + seconds
    for part in parts:
        needed = NEEDS + (STUDY_NEEDS if part == "study" else ())
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        limit = min(LIMITS_S[part], end - time.monotonic())
        if missing:
            notes.append(f"left out: {part}, for want of {', '.join(missing)}")
        elif part == "study" and rehearse:
            notes.append("left out: study, which a rehearsal has no time for")
        elif limit < 1:
            notes.append(f"left out: {part}, the time is up")
        else:
            found, note = run_part(part, limit, rehearse=rehearse)
            rows += found
            notes += [note] if note else []
    return rows, notes


def run_part(part: str, limit_s: float, *, rehearse: bool) -> tuple[list[Row], str]:
    """The rows of a part in a process of its own, and why there are not all of them."""
    command = [sys.executable, __file__, "--part", part, *(["--rehearse"] if rehearse else [])]
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as said:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=told, stderr=said, start_new_session=True)
        try:
            code: int | None = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, 9)  # and the processes that it has started
            process.wait()
        took = time.monotonic() - begun
        told.seek(0)
        said.seek(0)
        rows = [json.loads(line) for line in told.read().splitlines() if line.startswith("{")]
        if code is None:
            return rows, f"{part}: stopped after {took:.0f} s"
        last = said.read().strip().splitlines()[-1:]
        return rows, f"{part}: exit {code}: {''.join(last)}" if code else ""


def with_circumstances(row: Row, *, rehearse: bool) -> Row:
    """The row with command, hardware and day, as benchmarks/README.md has it."""
    name = "a rehearsal on the CPU" if rehearse else torch.cuda.get_device_name()
    return {
        **row,
        "command": shlex.join(["benchmarks/gpu.sh", *sys.argv[1:]]),
        "hardware": f"{name}, torch {torch.__version__}, CUDA {torch.version.cuda}",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def table(rows: Sequence[Row]) -> str:
    """Name, number, spread."""
    lines = [("what", "measured", "spread", "n")]
    for row in rows:
        spread = " to ".join(f"{one:.4g}" for one in row["spread"] or ())
        number = f"{row['measured']:.4g} {row['unit']}".strip()
        lines.append((str(row.get("what", row["name"])), number, spread, str(row["n"])))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


if __name__ == "__main__":
    sys.exit(main())
