"""What follows a session: tables, database, progress and checkpoints, each told by the session."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from typing_extensions import override

from study.records.disk import parse_bytes, sweep_temporaries
from study.records.failures import FailedTrial, failure_lines
from study.records.files import KEPT, RunFolder, trial_id, write_bytes
from study.scoring.metrics import metric_text
from study.scoring.objective import ID_ACCURACY, OBJECTIVE
from study.searchers.rungs import Place
from study.terminal import visible
from study.training.checkpoint import drop_checkpoints
from study.tune.checkpoint_budget import CheckpointBudget
from study.tune.decisions import Decisions
from study.tune.record import NODE_LOST, Flat, TrialRecord
from study.tune.session import Observer
from study.tune.setup import Setup
from study.tune.study_db import About, StudyDatabase, Told, confirming, told_of
from study.tune.tables import write_tables
from study.tune.telling import standing_text
from study.watch.progress import Progress
from study.watch.scoreboard import IMAGES_PER_S

_TABLES_EVERY_S = 10.0  # at the most often
_TABLES_SHARE = 0.05  # of the time, at the most: those of thousands of trials take a while


class ProgressObserver(Observer):
    """Tells the progress view."""

    def __init__(self, progress: Progress, setup: Setup) -> None:
        """Take the view and what names a trial's parameters."""
        self._progress = progress
        self._setup = setup

    def trial_started(self, record: TrialRecord) -> None:
        """Show its searched parameters."""
        self._progress.trial_started(trial_id(record.number), record.params)

    @override
    def trial_promoted(self, record: TrialRecord, place: Place) -> None:
        """Say why it goes on."""
        why = f"place {place.place} of {place.of} at epoch {place.epoch}"
        self._progress.trial_promoted(trial_id(record.number), why)

    def epoch(self, record: TrialRecord) -> None:
        """Show its newest epoch."""
        done, total = len(record.epochs), record.num_epochs
        metrics = record.epochs[-1]
        if not record.competes:  # it does not compete for the best so far
            metrics = {IMAGES_PER_S: metrics[IMAGES_PER_S]} if IMAGES_PER_S in metrics else {}
        self._progress.epoch(trial_id(record.number), done, total, metrics)

    @override
    def trial_retried(self, record: TrialRecord, reason: str) -> None:
        """Say that it goes on alone."""
        name, first = trial_id(record.number), reason.splitlines()[0]
        self._progress.warning(f"trial {name} goes on, alone: {first}")

    @override
    def trial_lost(self, record: TrialRecord, cause: str) -> None:
        """Say from where it goes on."""
        name, done = trial_id(record.number), len(record.epochs)
        what = cause if cause == NODE_LOST else "its worker died"
        how = f"goes on after epoch {done}" if done else "starts again"
        self._progress.trial_lost(name, f"{what}, {how}")

    def trial_ended(self, record: TrialRecord) -> None:
        """Show how it ended."""
        select, reason = self._setup.spec.select, record.reason
        metrics = standing(record, select.checkpoint)
        every = record.chosen_metrics(select.checkpoint)
        if record.status == "finished" and record.confirms is not None:
            kept = select.metric.replace("val", KEPT, 1)
            metric = kept if kept in every else select.metric
            told = metric_text(metric, every[metric])
            reason = f"{told}, trial {trial_id(record.confirms)} anew"
        elif record.status == "finished" and record.tunes:
            reason = f"tunes {record.arm}: {metric_text(OBJECTIVE, every[OBJECTIVE])}"
        elif record.status == "finished":
            reason = standing_text(every, select.metric, self._setup.floor)
        self._progress.trial_ended(trial_id(record.number), record.status, metrics, reason)


def standing(record: TrialRecord, rule: str) -> dict[str, float]:
    """What the view compares; what confirms or tunes does not compete for the best."""
    return record.chosen_metrics(rule) if record.competes else {}


class RecordsObserver(Observer):
    """Keeps tables, study.db and checkpoints in step with the ledger."""

    def __init__(
        self,
        run: RunFolder,
        setup: Setup,
        decisions: Decisions,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """Clear what the killed left, open study.db anew from the ledger, write the tables.

        ``warn`` is told where the budget for checkpoints cannot be kept.
        """
        self._run = run
        self._setup = setup
        self._decisions = decisions
        self._warn = warn
        self._params: dict[int, Flat] = {}  # of each trial, for the tables
        sweep_temporaries(run.path)
        for record in decisions.trials:  # a kill may have come between its end and this
            if record.status != "running":
                self._free(record)
        limit = setup.spec.tune.checkpoint_budget
        self._budget = CheckpointBudget(
            run,
            None if limit is None else parse_bytes(limit),
            setup.spec.select.checkpoint,
            lambda what, trials, size: decisions.note(
                f"{what} dropped", trials=trials, bytes=size
            ),
        )
        name, directions = run.path.resolve().name, decisions.plan.directions
        self._database = StudyDatabase(
            run.study_db, name, directions, about=about(setup, decisions), told=self._told
        )
        self._due = 0.0
        self._write(live=True)

    @override
    def epoch(self, record: TrialRecord) -> None:
        """Write the tables, and ended trials into study.db, if that was some time ago."""
        if time.monotonic() > self._due:
            self._write(live=True)

    @override
    def trial_promoted(self, record: TrialRecord, place: Place) -> None:
        """What it keeps is measured anew from now on."""
        self._budget.goes_on(record)

    def trial_ended(self, record: TrialRecord) -> None:
        """Free its resumable states; write the tables and study.db if it is time."""
        self._free(record)
        beyond = self._budget.enforce(self._decisions.trials)
        if beyond and self._warn is not None:
            self._warn(beyond)
        self.epoch(record)

    def _free(self, record: TrialRecord) -> None:
        """Remove what an ended trial will not resume from; a promotion resumes from its last."""
        last = len(record.epochs) if self._decisions.waits(record) else 0
        drop_checkpoints(self._run.trial_checkpoints(trial_id(record.number)), but=last)

    def flush(self) -> None:
        """Write the tables now."""
        self._write(live=True)

    @property
    def failures(self) -> list[FailedTrial]:
        """The failed trials of the study."""
        return [
            FailedTrial(trial_id(record.number), record.reason, record.traceback)
            for record in self._decisions.trials
            if record.status == "failed"
        ]

    def close(self) -> None:
        """Write everything as it stands now, unfinished trials as paused; sweep."""
        try:
            sweep_temporaries(self._run.path)  # of workers that were killed
            if failures := self.failures:
                text = visible("\n".join(failure_lines(failures)) + "\n")
                write_bytes(self._run.failures, text.encode())
            self._write(live=False)
        finally:
            self._database.close(self._decisions.frozen, confirming(self._decisions))

    def _params_of(self, record: TrialRecord) -> Flat:
        """All parameters of a trial, made out once: for thousands that takes long."""
        if record.number not in self._params:
            every = self._setup.params(record)
            self._params[record.number] = {sys.intern(name): one for name, one in every.items()}
        return self._params[record.number]

    def _told(self, trial: str) -> Told:
        rule = self._setup.spec.select.checkpoint
        return told_of(self._decisions.trials[int(trial)], rule)

    def _update_database(self) -> None:
        self._database.update(self._decisions.frozen)
        self._database.update_confirming(confirming(self._decisions))

    def _write(self, *, live: bool) -> None:
        begun = time.monotonic()
        self._update_database()
        if self._decisions.trials:
            rule = self._setup.spec.select.checkpoint
            metric = self._setup.spec.select.metric
            trials = self._decisions.trials
            write_tables(self._run, trials, self._params_of, rule, live=live, metric=metric)
        ended = time.monotonic()
        self._due = ended + max(_TABLES_EVERY_S, (ended - begun) / _TABLES_SHARE)


def about(setup: Setup, decisions: Decisions) -> About:
    """What optuna-dashboard and trackers tell of the study."""
    spec, floor = setup.spec, setup.floor
    attributes = {
        "recipe": spec.recipe,
        "selects by": spec.select.metric,
        "floor on val/id_accuracy": "none" if floor is None else floor.accuracy,
        "searcher": spec.tune.searcher,
        "scheduler": spec.tune.scheduler,
        "seed": spec.tune.seed,
    }
    if setup.base is not None:
        metrics = setup.base.metrics
        names = (spec.select.metric, ID_ACCURACY)
        attributes |= {f"base, {name}": metrics[name] for name in names if name in metrics}
    return About(attributes, decisions.plan.objectives or (OBJECTIVE,))
