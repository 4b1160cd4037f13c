"""Toy ablations on a ledger: their plan, and their trials without training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from study.records.ledger import Ledger, Record, read_ledger
from study.space.loading import load_space
from study.space.points import flat, grid
from study.space.study_spec import StudySpec
from study.tune.decisions import Decisions
from study.tune.plan import SearchPlan
from study.tune.record import TrialRecord
from study.tune.retuning import Retuning
from study.tune.session import Ask
from study.tune.stopping import Stopping

Value = Callable[[TrialRecord], float | None]
"""The accuracy that a trial ends with; None where it fails."""
HEAD = """
recipe: classifier
train: {epochs: 2, batch_size: 8, epoch_images: 16}
select: {metric: val/id_accuracy}
ablate:
  design: one_at_a_time
"""
METRIC = "val/id_accuracy"


def ablation_space(ablate: str, folder: Path, *overrides: str) -> StudySpec:
    """The study of these lines of its section ``ablate:``, with overrides as of ``--set``."""
    file = folder / "space.yaml"
    file.write_text(HEAD + ablate)
    return load_space(str(file), overrides)


def ablation_plan(spec: StudySpec) -> SearchPlan:
    """As ``study.tune.searching`` makes it, every trial of two epochs."""
    assert spec.ablate is not None
    return SearchPlan(
        seed=spec.tune.seed,
        searcher=spec.tune.searcher,
        scheduler=spec.tune.scheduler,
        grace_epochs=spec.tune.grace_epochs,
        reduction_factor=spec.tune.reduction_factor,
        checkpoint_rule="best",
        distributions={name: domain.distribution() for name, domain in flat(spec).items()},
        num_epochs=lambda point: 2,
        grid=grid(spec),
        num_tuning=spec.ablate.num_tuning,
    )


def run_ablation(
    folder: Path, spec: StudySpec, value: Value, *, stop_after: int | None = None, at_once: int = 1
) -> tuple[Decisions, list[Any]]:
    """So many trials at once, the newest first; to the end or to so many results.

    Returns:
        The decisions; and what a user is told of trials that are not run, or of choices.
    """
    told: list[Any] = []
    with Ledger(folder / "ledger.jsonl") as ledger:
        decisions = Decisions(ablation_plan(spec), ledger)
        ask, steps = asks_of(decisions, spec, told), 0
        while steps != stop_after:
            while len(decisions.unfinished) < at_once and ask() is not None:
                pass
            if not decisions.unfinished:
                break
            run_epoch(decisions, decisions.unfinished[-1], value)
            steps += 1
    return decisions, told


def asks_of(decisions: Decisions, spec: StudySpec, told: list[Any]) -> Ask:
    """Who gives out the trials."""
    assert spec.ablate is not None
    if spec.ablate.stop is not None:
        return Stopping(decisions, spec.ablate, spec.ablate.stop, METRIC, told.append).next_trial
    if spec.ablate.retune is not None:
        return Retuning(decisions, spec.ablate, spec.ablate.retune, told.append).next_trial
    return decisions.ask


def run_epoch(decisions: Decisions, record: TrialRecord, value: Value) -> None:
    """Tell a trial's next epoch, or that it failed."""
    epoch, found = len(record.epochs) + 1, value(record)
    if found is None:
        decisions.failed(record.number, reason="loss is nan", cause="diverged")
        return
    found += 0.001 * (epoch - 2)
    metrics = {"val/objective": 1 - found, METRIC: found, "time_s": 1.0}
    decisions.result(record.number, epoch, metrics)


def ledger_lines(folder: Path) -> list[Record]:
    """The ledger's events without what differs from run to run."""
    records = read_ledger(folder / "ledger.jsonl")[0]
    return [{k: v for k, v in one.items() if k not in ("time", "crc32")} for one in records]
