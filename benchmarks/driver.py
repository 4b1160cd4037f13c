"""What a trial costs the driver as a study grows: CPU seconds a trial, the first against the last.

    python benchmarks/driver.py                      # 2,000 trials: random with ASHA, and TPE
    python benchmarks/driver.py --trials 10000 --ways "random asha"
    python benchmarks/driver.py --trials 10000 --ways "tpe asha" --keep FOLDER
    python benchmarks/driver.py --ways epochs written

Claim: with random search the driver's CPU seconds of a trial at the end of 10,000 are within 1.5
times those at the beginning, and its memory stays under 1 GB. Medians of ten hundreds at each end
are compared: the tables, which are written anew for a twentieth of the time at most, come into one
or two of them; the mean of all trials holds them too. The trials do nothing; session,
decisions, ledger, tables, study.db, TensorBoard files and the budget of checkpoints are a study's
own, without Ray. A trial has the metrics of one of the space energy and leaves files of weights
and scores, which are written outside of what is measured, as a worker would write them; what is
measured depends on how many there are, not on their length (`--weights` bytes). `fsync` is left
out: it takes next to no CPU time, and much of the clock where a machine is busy. With `--keep` a
search that was stopped goes on from its ledger, as a study does; the trials since its last whole
hundred are not measured, and the memory is that of the last process.

The way `epochs`: 20 trials of 100 epochs; in a second of CPU time the driver records 2,000 epochs,
by the messages of all but the last of a trial, `fsync` left out. The tables are left out too: they
are written anew as a study goes on, for a twentieth of its time at most. What one `fsync` of the
ledger takes on this disk is told beside it.

The way `written`: bytes that a study of 20 trials of 10 epochs writes for each one that it keeps,
with scores of 7,000 images and weights of a ResNet-20, by Linux's count of what was handed to
`write`. What later epochs replace is told apart: states to resume from, and weights of an epoch
that was the best one until then.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
from common import options, print_table, save_rows, say_how
from noop_trials import no_op_metrics, no_op_setup

from study.records.disk import folder_bytes
from study.records.files import VAL_ID, WEIGHTS, RunFolder, trial_id, write_json
from study.records.ledger import Ledger
from study.records.scores import SetScores, ValidationScores, add_epoch
from study.tune.decisions import Decisions
from study.tune.observers import ProgressObserver, RecordsObserver
from study.tune.searching import search_plan
from study.tune.session import Limits, Session
from study.tune.shown import Shown
from study.tune.tensorboard import TensorBoardLog
from study.watch.progress import Progress

WAYS = ("random asha", "random none", "tpe asha", "epochs", "written")
BLOCK, TEN = 100, 10  # trials of a block, blocks at each end that are compared
ASKED = 10_000  # trials of the targets
AT_A_TIME = 2
VALIDATION = {VAL_ID: 5_000, "ood": 2_000}  # images
SYNCS = 200


@dataclass(frozen=True)
class Block:
    """What the driver spent on so many trials: CPU seconds each, and its memory after them."""

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Sitting:
    """A search whose trials are played by whoever has it.

    Attributes:
        run: its folder.
        session: gives out trials and is told of them.
        records: keeps tables, database and checkpoints in step.
    """

    run: RunFolder
    session: Session
    records: RecordsObserver

    def play(self, epoch: Callable[[int, int, dict[str, float]], bool]) -> Iterator[int]:
        """All trials to their ends, `AT_A_TIME` side by side; gives those that ended.

        Args:
            epoch: is called with a trial's number, an epoch and its metrics, tells the session of
                it, and says whether the trial is to stop.
        """
        values, live = np.random.default_rng(0), set[int]()
        while live or not self.session.exhausted:
            while (given := self.session.next_assignment()) is not None:
                live.add(given.number)
            for number in sorted(live):
                told = no_op_metrics() | {"val/objective": values.uniform(0.2, 0.9)}
                done = len(self.session.decisions.trials[number].epochs)
                if epoch(number, done + 1, told):
                    self.session.left(number)
                    live.remove(number)
                    yield number


@contextmanager
def sitting(folder: Path, way: str, trials: int, epochs: int) -> Iterator[Sitting]:
    """A search in ``folder``; ``way`` is a searcher and a scheduler."""
    searcher, scheduler = way.split()
    setup = no_op_setup(
        folder,
        [
            f"train.epochs={epochs}", f"tune.num_trials={trials}", f"tune.searcher={searcher}",
            f"tune.scheduler={scheduler}", "tune.first=[]", "tune.finish=0",
        ],
    )  # fmt: skip
    run, progress = RunFolder(folder / "run"), Progress(io.StringIO(), live=False, quiet=True)
    with Ledger(run.ledger) as ledger:
        decisions = Decisions(search_plan(setup), ledger)
        records = RecordsObserver(run, setup, decisions, progress.warning)
        board = TensorBoardLog(run.tensorboard, Shown(setup.params, run=run, own_score="energy"))
        board.catch_up(decisions.trials)
        observers = [ProgressObserver(progress, setup), board, records]
        session = Session(decisions, setup.assign, Limits(trials, None, 5), observers)
        session.max_concurrent = AT_A_TIME
        yield Sitting(run, session, records)
        board.close()
        records.close()


def measured(folder: Path, way: str, trials: int, epochs: int, weights: int) -> list[Block]:
    """The blocks of a search, in order; one that was stopped in ``folder`` goes on."""
    clock, kept = CPUClock(), folder / "blocks.json"
    before = json.loads(kept.read_text()) if kept.exists() else {"blocks": []}
    blocks = [Block(**one) for one in before["blocks"]]
    few = _scores(epochs, {VAL_ID: 20, "ood": 20})
    with sitting(folder, way, trials, epochs) as one:
        next_assignment = one.session.next_assignment

        def told(number: int, epoch: int, metrics: dict[str, float]) -> bool:
            seal = add_epoch(one.run, trial_id(number), few[epoch - 1])
            _leave_weights(one.run, number, weights)
            with clock:
                return one.session.told(number, _message(epoch, metrics, seal))

        def asked() -> Any:
            with clock:
                return next_assignment()

        no_sync = mock.patch("os.fsync", _nothing)
        with no_sync, mock.patch.object(one.session, "next_assignment", asked):
            for ended, _ in enumerate(one.play(told), start=1):
                if ended % BLOCK == 0:
                    blocks.append(Block(clock.taken() / BLOCK, _megabytes()))
                    write_json(kept, {"blocks": [asdict(block) for block in blocks]})
                    if len(blocks) % TEN == 0:
                        sys.stderr.write(f"{way}: {len(blocks)} hundreds, {blocks[-1]}\n")
    return blocks


def epochs_a_second(folder: Path, trials: int, epochs: int) -> float:
    """Epochs recorded in a second of CPU time, without fsync and tables."""
    clock, count = CPUClock(), 0
    with sitting(folder, "random none", trials, epochs) as one:
        one.records.flush()

        def told(number: int, epoch: int, metrics: dict[str, float]) -> bool:
            nonlocal count
            message = _message(epoch, metrics, "0" * 64)
            if epoch == epochs:
                return one.session.told(number, message)
            count += 1
            with clock:
                return one.session.told(number, message)

        no_tables = mock.patch.object(one.records, "epoch", _nothing)
        with no_tables, mock.patch("os.fsync", _nothing):
            for _ in one.play(told):
                pass
    return count / clock.taken()


def _nothing(_: object) -> None:
    """In place of what is left out."""


def sync_times(folder: Path) -> list[float]:
    """Milliseconds on the clock of each fsync of a ledger that grew by a line."""
    times = []
    with (folder / "ledger").open("ab", buffering=0) as file:
        for _ in range(SYNCS):
            file.write(bytes(1_250))
            begun = time.perf_counter()
            os.fsync(file.fileno())
            times.append(1000 * (time.perf_counter() - begun))
    return times


@dataclass(frozen=True)
class Written:
    """Bytes of a study.

    Attributes:
        all: that were written.
        replaced: states and weights among them that later epochs replaced.
        kept: that lie in its folder at the end.
    """

    all: int
    replaced: int
    kept: int


def written(folder: Path, trials: int, epochs: int) -> Written:
    """Bytes of a study, with the files of real trials."""
    from study.models.registry import build_backbone
    from study.training.checkpoint import checkpoint_path, save_checkpoint
    from study.training.chosen import ChosenWeights, save_chosen
    from study.training.loop import TrainingState

    weights = build_backbone("resnet20", seed=0).state_dict()
    optimizer = {"momentum": [one.clone() for one in weights.values()]}
    scores, replaced, best = _scores(epochs, VALIDATION), 0, dict[int, float]()
    begun = _handed_to_write()
    with sitting(folder, "random none", trials, epochs) as one:

        def told(number: int, epoch: int, metrics: dict[str, float]) -> bool:
            nonlocal replaced
            place = one.run.trial_checkpoints(trial_id(number))
            if epoch == 1:
                write_json(place / "trial.json", {"seed": 0, **metrics})
            seal = add_epoch(one.run, trial_id(number), scores[epoch - 1])
            save_checkpoint(place, TrainingState(epoch, weights, optimizer, {}))
            replaced += folder_bytes(checkpoint_path(place, epoch))
            if metrics["val/objective"] < best.get(number, 1.0):
                if number in best:
                    replaced += (place / WEIGHTS).stat().st_size
                best[number] = metrics["val/objective"]
                save_chosen(place / WEIGHTS, ChosenWeights(weights, {}, {}, {"epoch": str(epoch)}))
            return one.session.told(number, _message(epoch, metrics, seal))

        for _ in one.play(told):
            pass
    return Written(_handed_to_write() - begun, replaced, folder_bytes(folder / "run"))


def _handed_to_write() -> int:
    """Bytes that this process gave to ``write`` so far, as Linux counts them."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


def _message(epoch: int, metrics: dict[str, float], seal: str) -> str:
    return json.dumps({"epoch": epoch, "metrics": metrics, "scores": seal})


def _scores(epochs: int, sizes: dict[str, int]) -> list[ValidationScores]:
    """Random scores of each epoch on as many images."""
    values, found = np.random.default_rng(1), []
    for epoch in range(1, epochs + 1):
        sets = {}
        for name, count in sizes.items():
            images = np.array([f"{name}{index:08d}" for index in range(count)], np.bytes_)
            scores = {score: values.normal(size=(1, count)) for score in ("energy", "msp")}
            predicted = np.zeros((1, count), np.int16)
            sets[name] = SetScores(scores, predicted, predicted[0], images, images)
        found.append(ValidationScores(np.array([epoch], np.int32), sets))
    return found


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


def _leave_weights(run: RunFolder, number: int, weights: int) -> None:
    folder = run.trial_checkpoints(trial_id(number))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(bytes(weights))


def main() -> None:
    """Measure each way, print, and keep what is to be kept."""
    parser = options(__doc__)
    parser.add_argument("--trials", type=int, default=2_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--weights", type=int, default=1_000, help="bytes of one trial's weights")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--keep", type=Path, help="where a search goes on that was stopped there")
    given = parser.parse_args()
    trials = 300 if given.quick else given.trials
    say_how(["optuna"], f"{trials} trials of {given.epochs} epochs")
    saved: list[dict[str, Any]] = []
    for way in given.ways:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if way == "epochs":
                saved += _of_epochs(folder, given.rounds or 3, 20 if given.quick else 100)
            elif way == "written":
                saved += _of_written(folder, 4 if given.quick else 20)
            else:
                measured(folder / "imports", way, 2, given.epochs, 1)  # not the first hundred's
                folder = given.keep / way.replace(" ", "-") if given.keep else folder
                blocks = measured(folder, way, trials, given.epochs, given.weights)
                saved += _of_growth(way, trials, blocks)
    columns = [["what", "measured", "unit", "spread"]]
    for row in saved:
        spread = " to ".join(f"{one:.3g}" for one in row["spread"] or ())
        columns.append([row["name"], f"{row['measured']:.4g}", row["unit"], spread])
    print_table(columns)
    if given.save:
        save_rows("driver", saved)


def _row(
    name: str, measured: float, unit: str = "", *, what: str = "", n: int = 1
) -> dict[str, Any]:
    return {
        "name": f"driver/{name}", "what": what, "measured": measured, "unit": unit, "n": n,
        "spread": None,
    }  # fmt: skip


def _of_growth(way: str, trials: int, blocks: list[Block]) -> list[dict[str, Any]]:
    ends = [blocks[:TEN], blocks[-TEN:]]
    first, last = (statistics.median(1000 * one.seconds for one in end) for end in ends)
    mean = 1000 * statistics.mean(one.seconds for one in blocks)
    name = way if trials == ASKED else f"{way}, {trials:,}"
    what = f"{name}: a trial of the"
    return [
        _row(
            f"{name}/growth", last / first, what=f"{name}: CPU of a trial, end against beginning"
        ),
        _row(f"{name}/memory", blocks[-1].megabytes, "MB", what=f"{name}: memory at the end"),
        _row(f"{name}/first", first, "ms", what=f"{what} first hundreds"),
        _row(f"{name}/last", last, "ms", what=f"{what} last hundreds"),
        _row(f"{name}/all", mean, "ms", what=f"{name}: the mean of all trials, tables with them"),
    ]


def _of_epochs(folder: Path, rounds: int, epochs: int) -> list[dict[str, Any]]:
    found = [epochs_a_second(folder / str(one), 20, epochs) for one in range(rounds)]
    syncs = sorted(sync_times(folder))
    told = "one fsync of the ledger, on the clock"
    tenths = [syncs[SYNCS // 10], syncs[-SYNCS // 10]]
    return [
        _row("epochs", statistics.median(found), "a second", n=rounds)
        | {"spread": [min(found), max(found)]},
        _row("fsync", statistics.median(syncs), "ms", what=f"{told}; spread: its tenths", n=SYNCS)
        | {"spread": tenths},
    ]


def _of_written(folder: Path, trials: int) -> list[dict[str, Any]]:
    found = written(folder, trials, 10)
    what = "the same with states and weights that later epochs replaced"
    return [
        _row("written", (found.all - found.replaced) / found.kept),
        _row("written/all", found.all / found.kept, what=what),
        _row(
            "kept", found.kept / trials / 1e6, "MB", what="bytes that a trial of 10 epochs keeps"
        ),
    ]


if __name__ == "__main__":
    main()
