"""What a trial costs the driver as a study grows: CPU seconds a trial, first hundred against last.

    python benchmarks/driver.py                      # 2,000 trials: random with ASHA, and TPE
    python benchmarks/driver.py --trials 10000 --ways "random asha"

Claim: with random search the driver's CPU seconds of a trial at the end of 10,000 are within 1.5
times those of the first hundred, and its memory stays under 1 GB. The trials do nothing; session,
decisions, ledger, tables, study.db, TensorBoard files and the budget of checkpoints are a study's
own, without Ray. A trial has the metrics of one of the space energy and leaves a file of weights,
which is written outside of what is measured, as a worker would write it; what is measured depends
on how many such files there are, not on their length (`--weights` bytes).
"""

from __future__ import annotations

import io
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from common import options, print_table, say_how
from noop_trials import no_op_metrics, no_op_setup

from study.records.files import WEIGHTS, RunFolder, trial_id
from study.records.ledger import Ledger
from study.tune.decisions import Decisions
from study.tune.observers import ProgressObserver, RecordsObserver
from study.tune.searching import search_plan
from study.tune.session import Limits, Session
from study.tune.shown import Shown
from study.tune.tensorboard import TensorBoardLog
from study.watch.progress import Progress

WAYS = ("random asha", "random none", "tpe asha")
BLOCK = 100
AT_A_TIME = 2


@dataclass(frozen=True)
class Block:
    """What the driver spent on so many trials: CPU seconds each, and its memory after them."""

    seconds: float
    megabytes: float


def measured(folder: Path, way: str, trials: int, epochs: int, weights: int) -> list[Block]:
    """The blocks of a search, in order."""
    searcher, scheduler = way.split()
    setup = no_op_setup(
        folder,
        [
            f"train.epochs={epochs}", f"tune.num_trials={trials}", f"tune.searcher={searcher}",
            f"tune.scheduler={scheduler}", "tune.first=[]", "tune.finish=0",
        ],
    )  # fmt: skip
    run, progress = RunFolder(folder / "run"), Progress(io.StringIO(), live=False, quiet=True)
    values = np.random.default_rng(0)
    clock, ended = CPUClock(), 0
    blocks: list[Block] = []
    with Ledger(run.ledger) as ledger:
        decisions = Decisions(search_plan(setup), ledger)
        records = RecordsObserver(run, setup, decisions, progress.warning)
        board = TensorBoardLog(run.tensorboard, Shown(setup.params))
        observers = [ProgressObserver(progress, setup), board, records]
        session = Session(decisions, setup.assign, Limits(trials, None, 5), observers)
        session.max_concurrent = AT_A_TIME
        live: set[int] = set()
        while live or not session.exhausted:
            with clock:
                while (given := session.next_assignment()) is not None:
                    live.add(given.number)
            for number in sorted(live):
                _as_a_worker(run, number, weights)
                told = no_op_metrics() | {"val/objective": values.uniform(0.2, 0.9)}
                epoch = len(decisions.trials[number].epochs) + 1
                with clock:
                    if session.told(number, json.dumps({"epoch": epoch, "metrics": told})):
                        session.left(number)
                        live.remove(number)
                        ended += 1
            if ended >= BLOCK * (len(blocks) + 1):
                blocks.append(Block(clock.taken() / BLOCK, _megabytes()))
        board.close()
        records.close()
    return blocks


class CPUClock:
    """Adds up the CPU seconds of this process, all threads, that pass inside it."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._spent = self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.process_time()

    def __exit__(self, *_: object) -> None:
        self._spent += time.process_time() - self._began

    def taken(self) -> float:
        """Seconds since the last call."""
        spent, self._spent = self._spent, 0.0
        return spent


def _megabytes() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6


def _as_a_worker(run: RunFolder, number: int, weights: int) -> None:
    """The files that a trial leaves."""
    folder = run.trial_checkpoints(trial_id(number))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(bytes(weights))


def main() -> None:
    """Measure each way and print."""
    parser = options(__doc__)
    parser.add_argument("--trials", type=int, default=2_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--weights", type=int, default=1_000, help="bytes of one trial's weights")
    parser.add_argument("--ways", nargs="+", default=list(WAYS))
    given = parser.parse_args()
    trials = 300 if given.quick else given.trials
    say_how(["optuna"], f"{trials} trials of {given.epochs} epochs")
    rows = [["way", "trials", "ms a trial, first", "last", "ratio", "MB, first", "last"]]
    for way in given.ways:
        with tempfile.TemporaryDirectory() as folder:
            blocks = measured(Path(folder), way, trials, given.epochs, given.weights)
        first, last = blocks[0], blocks[-1]
        each = [f"{1000 * one.seconds:.1f}" for one in (first, last)]
        memory = [f"{one.megabytes:.0f}" for one in (first, last)]
        rows.append([way, f"{trials:,}", *each, f"{last.seconds / first.seconds:.2f}", *memory])
    print_table(rows)


if __name__ == "__main__":
    main()
