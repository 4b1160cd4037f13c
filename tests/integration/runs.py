"""Studies as a user runs them: a command in a process of its own, killed where a test says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.records.files import CONFIRM, LOOK, TUNED, TUNING
from study.records.ledger import read_ledger
from tests.without_ray import Main, forked

PROJECT = Path(__file__).resolve().parents[2]
NUM_TRIALS = 4
# As small as a study can be that still has rungs to cut at, outliers and a base.
SMALL = (
    "base.epochs=2",
    "base.warmup_epochs=0",
    "base.epoch_images=128",
    "train.epochs=3",
    "train.epoch_images=32",
    "train.outlier_batch_size=16",
    "search.batch_size={choice: [16, 32]}",
    "select.floor={id_accuracy: {at_least: 0.0}}",
)
WALL_CLOCK = ("time_s", "images_per_s")
_DECISIONS = ("ask", "result", "failed", "promoted", TUNING, TUNED, LOOK, CONFIRM)
_PATIENCE_S = 300


@dataclass(frozen=True)
class Shell:
    """Runs the project's commands in one folder, with caches of their own.

    Attributes:
        folder: where commands run; ``--out`` is relative to it.
        env: their environment.
        data: a data root, which commands know as ``data``.
    """

    folder: Path
    env: Mapping[str, str]
    data: Path

    def __post_init__(self) -> None:
        """Link the data root."""
        (self.folder / "data").symlink_to(self.data)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``python ARGUMENTS`` as the leader of a process group, as a terminal does."""
        with (self.folder / "stderr.txt").open("a") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=dict(self.env),
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                # A shell ignores it for what runs in the background, and children inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run to the end; exit code and stdout."""
        process = self.start(*arguments)
        try:
            out, _ = process.communicate(timeout=_PATIENCE_S)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return process.returncode, out

    def study(self, *arguments: str) -> tuple[int, str]:
        """Run ``run_study.py``."""
        return self.run(str(PROJECT / "run_study.py"), *arguments)

    def without_ray(self, main: Main, *arguments: str) -> tuple[int, str]:
        """Run a command in a child of this process, trials in a loop: for what Ray is not in."""
        code, out, err = forked(main, arguments, self.folder, self.env)
        with (self.folder / "stderr.txt").open("a") as log:
            log.write(err)
        return code, out

    def stopped(
        self, arguments: list[str], at: Callable[[], bool], number: signal.Signals
    ) -> tuple[int, str]:
        """Run ``run_study.py``, send its process group a signal as soon as ``at()`` holds.

        Returns:
            Exit code (minus the signal where that ended it) and stdout.
        """
        process = self.start(str(PROJECT / "run_study.py"), *arguments)
        deadline = time.monotonic() + _PATIENCE_S
        while process.poll() is None and not at() and time.monotonic() < deadline:
            time.sleep(0.005)
        if process.poll() is None:
            os.killpg(process.pid, number)
        out, _ = process.communicate(timeout=_PATIENCE_S)
        return process.returncode, out

    def told(self) -> str:
        """All that went to stderr so far."""
        return (self.folder / "stderr.txt").read_text()


def new_study(out: str, *arguments: str, num_trials: int = NUM_TRIALS) -> list[str]:
    """The arguments of a very small study, one trial at a time."""
    size = ["--num-trials", str(num_trials), "--max-concurrent", "1"]
    space = ["--space", "energy", "--data-root", "data", "--smoke"]
    return [*space, *size, "--out", out, *arguments, "--set", *SMALL]


def decisions(run: Path) -> list[dict[str, Any]]:
    """What was asked, decided and chosen, in order, but for times and speeds."""
    records, _ = read_ledger(run / "ledger.jsonl")
    kept = []
    for record in records:
        if record["event"] not in _DECISIONS:
            continue
        plain = {k: v for k, v in record.items() if k not in ("time", "crc32")}
        if "metrics" in plain:
            metrics = plain["metrics"].items()
            plain["metrics"] = {k: v for k, v in metrics if k not in WALL_CLOCK}
        kept.append(plain)
    return kept


def num_events(run: Path, event: str) -> int:
    """How many such events a ledger holds by now, which may be in the middle of a line."""
    try:
        return (run / "ledger.jsonl").read_bytes().count(f'{{"event":"{event}'.encode())
    except FileNotFoundError:
        return 0
