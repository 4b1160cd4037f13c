"""What reading, choosing and reporting cost on a large run: CPU seconds and memory.

    python benchmarks/large_runs.py --trials 100 --epochs 20
    python benchmarks/large_runs.py --trials 1000 --epochs 100 --save     # 5 GB of disk

Claim: of 1,000 trials of 100 epochs and 7,000 validation images (two OOD sets of a seventh each)
`analysis.load` takes under 2 s, `select` with its correction under 10 s and 1 GB, the report under
30 s. The run is made here, by the project's own writers of ledger, tables and scores; nobody
trained it. Scores of the states that come near the choice are all drawn anew, the others share
what is about as good (hard links): a ledger line, a file and its hash each has. With `--alphas N`
each epoch has N states of a path, with `--scheduler asha` most trials are stopped at rungs.

Every measurement is a process of its own: CPU seconds of all its threads, imports included, and
the most memory that it held. A run made with `--keep FOLDER` is measured again where it is there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from common import Spread, options, print_table, save_rows, say_how

from study.records.files import ALL_EPOCHS, VAL_ID, RunFolder, trial_id, write_json
from study.records.ledger import Ledger
from study.records.scores import SetScores, ValidationScores, add_epoch, epoch_file
from study.records.sealed import note_end, note_files
from study.scoring.floor import Floor
from study.scoring.measuring import OOD_METRICS, ood_metrics
from study.scoring.objective import (
    ALPHA,
    FLOOR_HOLDS,
    ID_ACCURACY,
    OBJECTIVE,
    SHORTFALL,
    objective,
    standing,
)
from study.searchers.rungs import Rungs
from study.space.loading import load_space
from study.tune.decisions import RULES
from study.tune.record import TrialRecord
from study.tune.tables import write_tables

WAYS = {
    "load": "import sys, analysis; analysis.load(sys.argv[1])",
    "select": "from analysis.__main__ import main; main(['select', *__import__('sys').argv[1:]])",
    "report": "from analysis.__main__ import main; main(['report', *__import__('sys').argv[1:]])",
}
SCORES, SETS = ("msp", "energy"), ("near", "far")
Rng = np.random.Generator
Key = tuple[int, int]
States = list[dict[str, float]]
Trials = list[TrialRecord]
ROOT = Path(__file__).parents[1]
BASE = (0.90, 1.2)  # ID accuracy, and separation of ID and OOD in sd
BELOW_BASE = 0.01
ALONE = 3_000  # states near the choice, whose scores are their own
GRID = (0.005, 0.05)  # of accuracy and separation: the others share what is as good as they


@dataclass(frozen=True)
class Size:
    """How large a run is."""

    trials: int
    epochs: int
    images: int
    alphas: int = 1
    scheduler: str = "none"


def make_run(path: Path, size: Size) -> RunFolder:
    """Write a run that nobody trained."""
    run, rng = RunFolder(path), np.random.default_rng(0)
    path.mkdir(parents=True, exist_ok=True)
    settings = [
        f"train.epochs={size.epochs}", f"tune.num_trials={size.trials}", "tune.searcher=random",
        f"tune.scheduler={size.scheduler}", "tune.first=[]", "tune.finish=0",
    ]  # fmt: skip
    settings += ["tune.grace_epochs=1"] if size.scheduler == "asha" else []
    spec = load_space("energy", settings)
    maker = _Scores(run, size, rng)
    base = maker.drawn(*BASE)
    base.save(run.trial_scores("base"))
    right = base.sets[VAL_ID].prediction[0] == base.sets[VAL_ID].label
    floor = Floor(float(right.mean()) - BELOW_BASE, None, right)
    run.spec.write_text(spec.dump(), encoding="utf-8")
    write_json(run.manifest, _manifest(base, floor))
    with _unsynced(), Ledger(run.ledger) as ledger:
        ledger.append("started", rules=RULES)
        note_files(ledger, run)
        trials = _trials(ledger, maker, size, floor, rng)
        write_tables(run, trials, lambda one: one.params, "best", live=False)
        note_end(ledger, run, complete=True, reason="", unfinished=0, planned=size.trials)
    return run


@contextmanager
def _unsynced() -> Iterator[None]:
    """Files need not outlive the machine here."""
    with mock.patch("os.fsync"):
        yield


def _manifest(base: ValidationScores, floor: Floor) -> dict[str, Any]:
    accuracy = floor.accuracy + BELOW_BASE
    metrics = _told(base, 0) | {ID_ACCURACY: accuracy}
    return {
        "own_score": "energy",
        "base": {"metrics": metrics, "val_id_accuracy": accuracy},
        "floor": {"value": floor.accuracy, "reference": "base", "how": "one point below the base"},
    }


class _Scores:
    """Draws scores and keeps them; states that are about as good as each other share them."""

    def __init__(self, run: RunFolder, size: Size, rng: Rng) -> None:
        self._run, self._rng = run, rng
        self._alphas = np.linspace(0, 1, size.alphas + 1)[1:]
        num = {name: size.images // 7 for name in SETS}
        num = {VAL_ID: size.images - sum(num.values()), **num}
        self._hard = {name: rng.normal(size=one) for name, one in num.items()}
        self._luck = rng.uniform(size=num[VAL_ID])
        self._label = {name: np.full(one, -1, np.int16) for name, one in num.items()}
        self._label[VAL_ID] = rng.integers(0, 10, num[VAL_ID]).astype(np.int16)
        self._names = {
            name: np.array([f"{name}/{i}" for i in range(one)], "S") for name, one in num.items()
        }
        self._drawn: dict[Key, tuple[ValidationScores, States]] = {}
        self._files: dict[tuple[int, Key], tuple[Path, str]] = {}

    def drawn(self, accuracy: float, separation: float) -> ValidationScores:
        """The scores of one state; half of their variance is the image's, for all models."""
        sets = {}
        for name, label in self._label.items():
            own = 0.7 * self._hard[name] + 0.7 * self._rng.normal(size=len(label))
            own = own[None] + (0.0 if name == VAL_ID else separation)
            prediction = label[None].copy()
            if name == VAL_ID:
                luck = self._luck + 0.01 * self._rng.normal(size=len(label))
                prediction[0, luck > accuracy] = 10
            scores = {"msp": own / 9, "energy": own}
            sets[name] = SetScores(scores, prediction, label, self._names[name], self._names[name])
        return ValidationScores(np.ones(1, np.int32), sets)

    def keep(
        self,
        number: int,
        epoch: int,
        accuracy: float,
        separation: float,
        floor: Floor,
        alone: bool,
    ) -> tuple[States, str]:
        """Keep the states of an epoch; gives their metrics, and the hash for the ledger."""
        key = round(accuracy / GRID[0]), round(separation / GRID[1])
        name = trial_id(number)
        if alone:
            one, states = self._states(accuracy, separation, floor)
        elif (epoch, key) in self._files:
            first, seal = self._files[epoch, key]
            path = self._run.epoch_scores(name) / first.name
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(first, path)
            return self._drawn[key][1], seal
        else:
            if key not in self._drawn:
                self._drawn[key] = self._states(accuracy, separation, floor)
            one, states = self._drawn[key]
        one = replace(one, epochs=np.full(len(self._alphas), epoch, np.int32))
        seal = add_epoch(self._run, name, one)
        if not alone:
            path = self._run.epoch_scores(name) / epoch_file(epoch)
            self._files[epoch, key] = path, seal
        return states, seal

    def _states(
        self, accuracy: float, separation: float, floor: Floor
    ) -> tuple[ValidationScores, States]:
        """The states between the base and such a one, and their metrics."""
        every = [
            self.drawn(BASE[0] + a**3 * (accuracy - BASE[0]), BASE[1] + a * (separation - BASE[1]))
            for a in self._alphas
        ]
        states = [
            _judged(one, floor) | ({} if len(every) == 1 else {ALPHA: float(alpha)})
            for one, alpha in zip(every, self._alphas, strict=True)
        ]
        scores = every[0]
        for one in every[1:]:
            scores = scores.followed_by(one)
        return replace(scores, alphas=self._alphas), states


def _trials(ledger: Ledger, maker: _Scores, size: Size, floor: Floor, rng: Rng) -> Trials:
    """The search: one trial at a time, stopped and promoted by its rungs where it has any."""
    gain, cost = rng.uniform(0, 1.2, size.trials), rng.uniform(0, 0.03, size.trials)
    late = 1 - np.exp(-np.arange(1, size.epochs + 1) * 5 / size.epochs)
    separation = (
        BASE[1] + np.outer(gain, late) + 0.02 * rng.normal(size=(size.trials, size.epochs))
    )
    accuracy = BASE[0] - np.outer(cost * gain, late)
    best = np.where(accuracy > floor.accuracy - 0.005, separation, 0)
    alone = best >= np.sort(best.ravel())[-min(ALONE, best.size)]
    rungs = Rungs(1, 3) if size.scheduler == "asha" else None
    trials: Trials = []
    while True:
        if rungs and (place := rungs.promotable()):
            record = trials[place.number]
            ledger.append("promoted", **asdict(place), why="rung")
            rungs.leave(place.number)
            record.status = "running"
        elif len(trials) < size.trials:
            number = len(trials)
            record = TrialRecord(
                number, number, {"train.lr": gain[number], "train.energy_weight": cost[number]}
            )
            trials.append(record)
            ledger.append("ask", number=number, seed=number, params=record.params)
        else:
            return trials
        while record.status == "running":
            number, epoch = record.number, len(record.epochs) + 1
            at = number, epoch - 1
            states, seal = maker.keep(
                number, epoch, accuracy[at], separation[at], floor, alone[at]
            )
            _record(ledger, rungs, record, states, seal, size)


def _record(
    ledger: Ledger, rungs: Rungs | None, record: TrialRecord, states: States, seal: str, size: Size
) -> None:
    """Take in an epoch as decisions do, and put it on the ledger."""
    number, epoch = record.number, len(record.epochs) + 1
    metrics = min(reversed(states), key=standing) | {"time_s": 30.0, "lr": 0.01, "train/loss": 0.5}
    told: dict[str, Any] = {"metrics": metrics, "scores": seal}
    if size.alphas > 1:
        summary = [{k: v for k, v in one.items() if k.count("/") == 1} for one in states]
        told["states"] = summary
        record.states.append(summary)
    if epoch == size.epochs:
        record.status = "finished"
    elif rungs and not rungs.goes_on(number, epoch, metrics[OBJECTIVE]):
        record.status = "pruned"
    decision = "continue" if record.status == "running" else record.status
    if rungs and decision != "finished":
        rungs.arrive(number, epoch, metrics[OBJECTIVE], stopped=decision == "pruned")
    ledger.append("result", number=number, epoch=epoch, **told, decision=decision)
    record.epochs.append(metrics)
    record.reason = ALL_EPOCHS if decision == "finished" else ""


def _told(scores: ValidationScores, row: int) -> dict[str, float]:
    """Metrics of a state, as many as a trial tells: of those that nobody looks at a constant."""
    id_set = scores.sets[VAL_ID]
    each = product(SETS, SCORES, OOD_METRICS)
    told = {f"val/{name}/{score}/{key}": 0.5 for name, score, key in each}
    told |= {f"val/{key}": 0.5 for key in OOD_METRICS}
    told[ID_ACCURACY] = float((id_set.prediction[row] == id_set.label).mean())
    for key in ("fpr95", "auroc"):
        for name in SETS:
            ours, theirs = (one.scores["energy"][row] for one in (id_set, scores.sets[name]))
            told[f"val/{name}/energy/{key}"] = ood_metrics(ours, theirs, [key])[key]
        told[f"val/{key}"] = float(np.mean([told[f"val/{name}/energy/{key}"] for name in SETS]))
    return told


def _judged(scores: ValidationScores, floor: Floor) -> dict[str, float]:
    one = scores.sets[VAL_ID]
    judged = floor.judge(one.prediction[0] == one.label, one.group)
    told = _told(scores, 0) | {FLOOR_HOLDS: judged.holds, SHORTFALL: judged.shortfall}
    return told | {OBJECTIVE: objective(told, "val/fpr95")}


def measured(run: Path, way: str) -> tuple[float, float]:
    """CPU seconds of a process that does it, and the most megabytes that it held."""
    command = [sys.executable, "-c", WAYS[way], str(run)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{way} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


def main() -> None:
    """Make a run, measure each way and print."""
    parser = options(__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--images", type=int, default=7_000)
    parser.add_argument("--alphas", type=int, default=1, help="states of a path, each epoch")
    parser.add_argument("--scheduler", choices=["none", "asha"], default="none")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--keep", type=Path, help="make the run there, or measure what is there")
    given = parser.parse_args()
    size = Size(given.trials, given.epochs, given.images, given.alphas, given.scheduler)
    size = replace(size, trials=10, epochs=3) if given.quick else size
    rounds = given.rounds or (1 if given.quick else 3)
    say_how(["numpy", "pandas"], f"{rounds} rounds of {size}")
    with tempfile.TemporaryDirectory(prefix="large-run-") as folder:
        run = (given.keep or Path(folder)) / "run"
        if not run.exists():
            make_run(run, size)
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in given.ways}
        for _ in range(rounds):
            for way in given.ways:
                for left in (run / "selection.json", run / "report.html"):
                    left.unlink(missing_ok=True)
                found[way].append(measured(run, way))
    rows, told = [["way", "CPU seconds", "MB"]], []
    kind = f"{size.scheduler}, {size.alphas} states an epoch"
    for way, each in found.items():
        seconds, megabytes = (Spread(one) for one in zip(*each, strict=True))
        rows.append([way, seconds.text(1), megabytes.text(0)])
        for name, one, unit in ((way, seconds, "s"), (f"{way}/memory", megabytes, "MB")):
            told.append(
                {
                    "name": f"analysis/{name}", "what": f"{name}: {kind}", "measured": one.median,
                    "unit": unit, "n": rounds, "spread": [min(one.values), max(one.values)],
                }
            )  # fmt: skip
    print_table(rows)
    if given.save:
        save_rows("large_runs", told)


if __name__ == "__main__":
    main()
