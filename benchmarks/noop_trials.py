"""What a trial costs beside its training: trials that do nothing, in two ways.

    python benchmarks/noop_trials.py

Claim: 60 no-op trials through the project's own tuner end within 10 s on two cores, once Ray is
up. Everything that a study does around a trial is done: the shipped space energy with its
margins measured on a base, ledger, study.db, TensorBoard files, tables and progress. Only the
trial is replaced, by one report of the metrics that a real one tells.

Beside it: the same space's kind of search in Ray Tune as it comes (function trainable, new actor
a trial, its own loggers), with its random search and with its OptunaSearch.

Each measurement is a process of its own that starts Ray with two CPUs; the clock runs from then
to the last file written. Rounds go through the ways in turn. Takes about four minutes.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import Spread, options, print_table, say_how, study_data, verdict

TARGET_S = 10.0
TRIALS, CPUS = 60, 2
ROUNDS = 3


def main() -> None:
    """Measure each way in processes of its own and print."""
    parser = options(__doc__)
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--trials", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        with tempfile.TemporaryDirectory() as folder:
            seconds = PARTS[given.part].measure(Path(folder), given.trials)
        given.result.write_text(json.dumps(seconds))
        return
    rounds = given.rounds or (1 if given.quick else ROUNDS)
    say_how(["ray", "optuna"], f"{rounds} rounds, Ray with {CPUS} CPUs, one CPU a trial")
    _compare(_chosen(given.quick), rounds)


def _chosen(quick: bool) -> dict[str, int]:
    """Trials by way: Ray's own way is measured on few, its cost a trial being the same."""
    return {"ours": 6, "optuna": 1} if quick else {"ours": TRIALS, "random": 8, "optuna": 8}


def _compare(trials: dict[str, int], rounds: int) -> None:
    """Run the rounds and print one row a way."""
    seconds: dict[str, list[float]] = {name: [] for name in trials}
    for _ in range(rounds):
        for name, number in trials.items():
            seconds[name].append(_in_a_process(name, number))
    ours = Spread([value / trials["ours"] for value in seconds["ours"]])
    rows = [["way", "trials", "seconds", "s a trial", "times ours"]]
    for name, number in trials.items():
        each = Spread([value / number for value in seconds[name]])
        ratio = each.median / ours.median
        whole = Spread(seconds[name]).text(1)
        rows.append([PARTS[name].title, str(number), whole, each.text(3), f"{ratio:.1f}"])
    print_table(rows)
    if trials["ours"] == TRIALS:
        median = Spread(seconds["ours"]).median
        kept = verdict(median <= TARGET_S)
        print(f"\n{TRIALS} trials in {median:.1f} s, target {TARGET_S:.0f} s: {kept}")


def _in_a_process(part: str, trials: int) -> float:
    """Seconds of one measurement; Ray's own words go nowhere unless it fails."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "seconds.json"
        command = [sys.executable, __file__, "--part", part, "--trials", str(trials)]
        done = subprocess.run([*command, "--result", str(result)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return float(json.loads(result.read_text()))


def our_seconds(folder: Path, trials: int) -> float:
    """Seconds that ``trials`` no-op trials take through the project's tuner."""
    import study.tune.ray_trainable  # noqa: F401 - a study imports it, and Ray Tune with it, before Ray is up
    from study.records.files import RunFolder
    from study.records.ledger import Ledger
    from study.tune.decisions import Decisions
    from study.tune.observers import ProgressObserver, RecordsObserver
    from study.tune.ray_tuner import ray_running, run_session
    from study.tune.resources import Machine, plan_resources
    from study.tune.searching import search_plan
    from study.tune.session import Limits, Session
    from study.tune.shown import Shown
    from study.tune.tensorboard import TensorBoardLog
    from study.watch.progress import Progress

    run, setup = (
        RunFolder(folder / "run"),
        no_op_setup(folder, ["train.epochs=1", f"tune.num_trials={trials}"]),
    )
    progress = Progress(io.StringIO(), live=False, quiet=False)
    with Ledger(run.ledger) as ledger, ray_running(None, CPUS) as nodes:
        begun = time.perf_counter()
        decisions = Decisions(search_plan(setup), ledger)
        records = RecordsObserver(run, setup, decisions, progress.warning)
        board = TensorBoardLog(run.tensorboard, Shown(setup.params))
        observers = [ProgressObserver(progress, setup), board, records]
        session = Session(decisions, setup.assign, Limits(trials, None, 5), observers)
        progress.study_started(trials, setup.spec.select.metric)
        resources = plan_resources(nodes, Machine(gpus_per_trial=0.0))
        session.max_concurrent = resources.max_concurrent
        run_session(session, noop, {"metrics": no_op_metrics()}, resources, run.path / ".ray")
        board.close()
        records.close()
        seconds = time.perf_counter() - begun
    if [record.status for record in decisions.trials] != ["finished"] * trials:
        sys.exit(f"not every trial ended well: {[r.status for r in decisions.trials]}")
    return seconds


def noop(config: dict[str, Any], metrics: dict[str, float]) -> None:
    """A trial that reports one epoch and has done nothing."""
    from ray import tune

    # The objective varies, so that the sampler has something to model.
    told = metrics | {"val/objective": config["assignment"]["train"]["energy_weight"]}
    tune.report({"message": json.dumps({"epoch": 1, "metrics": told})})


def no_op_metrics() -> dict[str, float]:
    """As many as an energy trial with one OOD validation set tells."""
    kinds = ("fpr95", "fpr95_ood_positive", "auroc", "aupr_in", "aupr_out")
    names = [f"val/ood/{score}/{kind}" for score in ("msp", "energy") for kind in kinds]
    names += [f"val/{kind}" for kind in kinds]
    names += [f"train/{term}" for term in ("loss", "cross_entropy", "energy_in", "energy_out")]
    names += ["val/id_accuracy", "val/objective", "lr", "images_per_s", "time_s"]
    return dict.fromkeys(names, 0.5)


def no_op_setup(folder: Path, settings: Sequence[str]) -> Any:
    """The space energy with ``settings``, on a base of random logits."""
    import torch

    from study.bases.base_models import BaseModel
    from study.data.leaks.report import LeakReport
    from study.data.plan import make_plan
    from study.records.scores import ValidationScores
    from study.scoring.floor import Floor
    from study.space.loading import load_space
    from study.tune.setup import Setup

    spec = load_space("energy", settings)
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(5_000, 10, generator=generator) + shift for shift in (3.0, 0.0)]
    scores = ValidationScores(np.empty(0, np.int32))
    metrics = {"val/id_accuracy": 0.8}
    base = BaseModel("none", folder, {}, False, False, metrics, scores, logits[0], logits[1])
    return Setup(
        spec=spec,
        plan=make_plan(spec.data, "demo"),
        data=study_data(None, share=0.002),
        leaks=LeakReport((), {}),
        models={"base": base},
        initial=(),
        floor=Floor(0.79),
        device="cpu",
    )


def plain_random_seconds(folder: Path, trials: int) -> float:
    """Seconds in Ray Tune as it comes, parameters drawn at random."""
    return _plain_seconds(folder, trials, None)


def plain_optuna_seconds(folder: Path, trials: int) -> float:
    """Seconds in Ray Tune as it comes, with its OptunaSearch."""
    from ray.tune.search.optuna import OptunaSearch

    return _plain_seconds(folder, trials, OptunaSearch(seed=0))


def _plain_seconds(folder: Path, trials: int, search: Any) -> float:
    import ray
    from ray import tune

    space = {
        "lr": tune.loguniform(1e-3, 3e-2),
        "energy_weight": tune.loguniform(0.01, 0.3),
        "m_in": tune.uniform(0.5, 6.0),
        "m_out": tune.uniform(0.0, 3.0),
        "batch_size": tune.choice([128, 256]),
        "scheduler_step": tune.choice(["epoch", "batch"]),
    }
    ray.init(num_cpus=CPUS)
    begun = time.perf_counter()
    tuner = tune.Tuner(
        plain_noop,
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", search_alg=search, num_samples=trials
        ),
        run_config=tune.RunConfig(storage_path=str(folder)),
    )
    results = tuner.fit()
    seconds = time.perf_counter() - begun
    if results.num_errors:
        sys.exit(f"{results.num_errors} trials failed")
    ray.shutdown()
    return seconds


def plain_noop(config: dict[str, Any]) -> None:
    """The same as people write it."""
    from ray import tune

    tune.report({"loss": config["energy_weight"]})


@dataclass(frozen=True)
class Part:
    """One way: its title in the table and what measures it (folder, trials) -> seconds."""

    title: str
    measure: Callable[[Path, int], float]


PARTS = {
    "ours": Part("this project", our_seconds),
    "random": Part("Ray Tune, random search", plain_random_seconds),
    "optuna": Part("Ray Tune, OptunaSearch", plain_optuna_seconds),
}


if __name__ == "__main__":
    main()
