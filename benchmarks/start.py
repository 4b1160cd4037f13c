"""What a person waits for before anything trains: CPU seconds of a start, all processes together.

    python benchmarks/start.py

Claim: on the demo `--help` takes .13 s; `--dry-run` under 15 s where nothing is in the cache and
under 6 s on the second start; from command to the first step of training, with the base in the
cache, under 12 s. The last one is measured to the first epoch on the ledger, of one batch and
without a path: that step and one pass over validation are counted too. Every way starts the
command line as a person does; the processes below it are watched by their CPU times. The base, of
two epochs, is trained first into a cache of its own; with `--cache` one that has it is taken.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from common import Spread, options, print_table, save_rows, say_how

ROOT = Path(__file__).parents[1]
STUDY = ("--space", "energy", "--data", "demo", "--quiet")
ONE_BATCH = (
    "--set", "base.epochs=2", "train.epochs=1", "train.epoch_images=128", "tune.num_trials=1",
    "tune.first=[]", "tune.finish=0", "tune.scheduler=none", "select.path=false",
)  # fmt: skip
_EVERY_S = 0.05


class Tree:
    """The CPU seconds of a process and of all that came from it."""

    def __init__(self, arguments: Sequence[str], cache: Path) -> None:
        """Start the command line."""
        environment = os.environ | {"OOD_STUDY_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
        self._process = psutil.Popen(
            [sys.executable, str(ROOT / "run_study.py"), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._spent: dict[int, float] = {}

    def until(self, ready: Callable[[], bool]) -> float:
        """Seconds that were spent when it was ready, or had ended; then it is ended."""
        while self._process.poll() is None and not ready():
            self._look()
            time.sleep(_EVERY_S)
        if self._process.poll() is None:
            self._look()
            self._process.terminate()
        code = self._process.wait()
        if code and not ready():
            sys.exit(f"{self._process.args} ended with {code}")
        return sum(self._spent.values())

    def _look(self) -> None:
        with suppress(psutil.NoSuchProcess):
            for one in (self._process, *self._process.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    times = one.cpu_times()
                    self._spent[one.pid] = times.user + times.system


def seconds_of(arguments: Sequence[str], cache: Path) -> float:
    """CPU seconds of a whole command."""
    environment = os.environ | {"OOD_STUDY_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "run_study.py"), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{arguments} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime


def to_first_epoch(cache: Path, folder: Path, *more: str) -> float:
    """CPU seconds until the first epoch of one batch is on the ledger."""
    ledger = folder / "run" / "ledger.jsonl"

    def is_there() -> bool:
        return ledger.exists() and b'{"event":"result"' in ledger.read_bytes()

    return Tree((*STUDY, "--out", str(folder / "run"), *ONE_BATCH, *more), cache).until(is_there)


def main() -> None:
    """Measure each way and print."""
    parser = options(__doc__)
    parser.add_argument("--cache", type=Path, help="a cache that has the base of the demo")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    given = parser.parse_args()
    rounds = given.rounds or (1 if given.quick else 3)
    say_how(["torch", "ray"], f"{rounds} rounds")
    found: dict[str, list[float]] = {way: [] for way in given.ways}
    with tempfile.TemporaryDirectory(prefix="start-") as folder:
        cache = given.cache or Path(folder) / "cache"
        if "step" in given.ways and given.cache is None:
            to_first_epoch(cache, Path(folder) / "base")
        if "dry run" in given.ways:
            seconds_of([*STUDY, "--dry-run"], cache)
        for number in range(rounds):
            for way in given.ways:
                place = Path(folder) / f"{way}-{number}".replace(" ", "-")
                found[way].append(WAYS[way](cache, place))
    rows = [["way", "CPU seconds"], *([way, Spread(one).text(2)] for way, one in found.items())]
    print_table(rows)
    if given.save:
        save_rows(
            "start",
            [
                {
                    "name": f"start/{way}", "measured": Spread(one).median, "unit": "s",
                    "n": rounds, "spread": [min(one), max(one)],
                }
                for way, one in found.items()
            ],
        )  # fmt: skip


WAYS: dict[str, Callable[[Path, Path], float]] = {
    "help": lambda cache, _: seconds_of(["--help"], cache),
    "first dry run": lambda _, place: seconds_of([*STUDY, "--dry-run"], place / "cache"),
    "dry run": lambda cache, _: seconds_of([*STUDY, "--dry-run"], cache),
    "step": to_first_epoch,
}


if __name__ == "__main__":
    main()
