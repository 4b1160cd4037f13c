"""Toy ablations on a ledger: their plan, their trials without training, a cut and a resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from study.records.ledger import Record, read_ledger
from study.space.loading import load_resolved, load_space
from study.space.points import flat, grid
from study.space.study_spec import StudySpec
from study.tune.decisions import Decisions
from study.tune.plan import SearchPlan
from study.tune.record import TrialRecord

Ask = Callable[[], TrialRecord | None]
Metrics = Callable[[TrialRecord, int], dict[str, float] | None]
"""What a trial's epoch brings; None where the trial fails in it."""


def ablation_space(text: str, folder: Path, *overrides: str) -> StudySpec:
    """The study of a YAML text, with overrides as of ``--set``."""
    file = folder / "space.yaml"
    file.write_text(text)
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


def run_trials(
    decisions: Decisions,
    ask: Ask,
    metrics: Metrics,
    *,
    stop_after: int | None = None,
    at_once: int = 1,
) -> None:
    """So many trials at once, the newest first; to the end or to so many results."""
    steps = 0
    while steps != stop_after:
        while len(decisions.unfinished) < at_once and ask() is not None:
            pass
        if not decisions.unfinished:
            break
        run_epoch(decisions, decisions.unfinished[-1], metrics)
        steps += 1


def run_epoch(decisions: Decisions, record: TrialRecord, metrics: Metrics) -> None:
    """Tell a trial's next epoch, or that it failed."""
    epoch = len(record.epochs) + 1
    found = metrics(record, epoch)
    if found is None:
        decisions.failed(record.number, reason="loss is nan", cause="diverged")
    else:
        decisions.result(record.number, epoch, found)


def ledger_lines(folder: Path) -> list[Record]:
    """The ledger's events without what differs from run to run."""
    records = read_ledger(folder / "ledger.jsonl")[0]
    return [{k: v for k, v in one.items() if k not in ("time", "crc32")} for one in records]


def cut_and_resumed(
    folder: Path, spec: StudySpec, run: Callable[..., Any], stop_after: int
) -> tuple[list[Record], list[Record], list[Record]]:
    """Run to the end; and again, cut off after so many results and resumed from its spec.yaml.

    Returns:
        The ledger's lines of the whole run, of the cut one, and of that one resumed.
    """
    (whole := folder / "whole").mkdir()
    (cut := folder / "cut").mkdir()
    run(whole, spec)
    run(cut, spec, stop_after=stop_after)
    before = ledger_lines(cut)
    (cut / "spec.yaml").write_text(spec.dump())
    run(cut, load_resolved(cut / "spec.yaml"))
    return ledger_lines(whole), before, ledger_lines(cut)
