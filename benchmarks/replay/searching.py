"""One search replayed by a clock, trials in parallel: nothing is trained, nothing touches a disk.

A worker looks up what the next epoch gives. Who is asked next, who is stopped, promoted and told
is the project's own code, its session and decisions over a ledger in memory.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from replay.cube import Floats
from replay.table import ALPHAS
from replay.truth import Seen, States, Truth
from replay.ways import BELOW_BASE, Judged, Way
from study.records.ledger import Ledger, Lines, Record
from study.scoring.objective import ID_ACCURACY, OBJECTIVE, SHORTFALL
from study.seeding import numpy_generator
from study.training.assignment import Assignment
from study.tune.decisions import Decisions
from study.tune.plan import SearchPlan
from study.tune.record import TrialRecord
from study.tune.session import Limits, Session

METRIC = "val/fpr95"
_SPREAD = 0.1  # of the epochs' lengths, so that parallel trials are not in step
Told = dict[str, float]


@dataclass(frozen=True)
class Found:
    """What a search chose, as it is, and what it cost.

    Attributes:
        fpr95: of the chosen state; the base's where nothing was chosen.
        accuracy: likewise.
        alpha: likewise, 0 for the base.
        above: whether its accuracy is truly above the floor.
        selected: whether any state passed.
        epochs: trained in all.
        finished: trials that ran to their end.
    """

    fpr95: float
    accuracy: float
    alpha: float
    above: bool
    selected: bool
    epochs: int
    finished: int


class Search(Protocol):
    """Who gives out trials, hears of their epochs and knows which finished."""

    def next_trial(self) -> tuple[TrialRecord, int] | None:
        """A trial and the epoch to train next; None where there is none now."""

    def told(self, record: TrialRecord, epoch: int, metrics: Told) -> bool:
        """Hear of an epoch; whether the trial is to stop."""

    def finished(self) -> list[TrialRecord]:
        """Trials that ran to their end."""


Begin = Callable[[Truth, Way, int, int, int], Search]
"""A search from truth, way, seed, number of trials, trials at a time."""


@dataclass(frozen=True)
class _Trial:
    """One trial's states, (E, A); of each epoch the best state's column, and what is told."""

    seen: States
    true: States
    judged: Judged
    best: NDArray[np.intp]
    told: Floats


class Measured:
    """The trials of one search, as they are and as half of validation shows them."""

    def __init__(self, truth: Truth, way: Way, seed: int) -> None:
        """None so far."""
        self._way, self._seen, self._base = way, Seen(truth, seed), truth.table.base
        self._trials: dict[int, _Trial] = {}

    def epoch(self, record: TrialRecord, epoch: int) -> Told:
        """What the trial's worker tells of an epoch: the metrics of one state of its path."""
        trial, row = self._trial(record), epoch - 1
        state = (row, int(trial.best[row]))
        return {
            OBJECTIVE: float(trial.told[row]),
            METRIC: float(trial.seen.fpr95[state]),
            ID_ACCURACY: float(trial.seen.accuracy[state]),
            SHORTFALL: float(trial.judged.shortfall[state]),
        }

    def _trial(self, record: TrialRecord) -> _Trial:
        if record.number not in self._trials:
            every, columns = slice(None), self._way.columns
            seen, true = (
                one.part(every, columns) for one in self._seen.at(record.params, record.number)
            )
            judged = self._way.judged(seen, self._seen.base_accuracy)
            self._trials[record.number] = _Trial(
                seen, true, judged, judged.best_of_rows(), self._way.told(judged)
            )
        return self._trials[record.number]

    def found(self, finished: Sequence[TrialRecord], epochs: int) -> Found:
        """The choice among finished trials, the same for every way: the best state that passes."""
        best, chosen = float("inf"), (self._base["fpr95"], self._base["accuracy"], 0.0)
        for record in finished:
            trial = self._trial(record)
            judged, true = trial.judged, trial.true
            place = judged.best()
            if judged.passes.flat[place] and judged.objective.flat[place] < best:
                best = float(judged.objective.flat[place])
                alpha = float(ALPHAS[self._way.columns[place % judged.margin.shape[1]]])
                chosen = float(true.fpr95.flat[place]), float(true.accuracy.flat[place]), alpha
        above = chosen[1] >= self._base["accuracy"] - BELOW_BASE
        return Found(*chosen, above, best < float("inf"), epochs, len(finished))


def replayed(
    begin: Begin, truth: Truth, way: Way, seed: int, num_trials: int, at_a_time: int
) -> Found:
    """Replay one search from its first trial to its choice."""
    way = way.among(num_trials)
    measured, search = Measured(truth, way, seed), begin(truth, way, seed, num_trials, at_a_time)
    lengths = numpy_generator(seed, "clock")
    due: list[tuple[float, int, TrialRecord]] = []
    trained: dict[int, int] = {}
    now, epochs = 0.0, 0

    def train(record: TrialRecord, epoch: int) -> None:
        trained[record.number] = epoch
        ends = now + lengths.uniform(1, 1 + _SPREAD)
        heapq.heappush(due, (ends, record.number, record))

    while True:
        while (given := search.next_trial()) is not None:
            train(*given)
        if not due:
            return measured.found(search.finished(), epochs)
        now, number, record = heapq.heappop(due)
        epochs += 1
        if not search.told(record, trained[number], measured.epoch(record, trained[number])):
            train(record, trained[number] + 1)


class ScratchLedger(Ledger):
    """A ledger in memory."""

    def __init__(self) -> None:
        """Empty."""
        self.path, self.records, self.torn_bytes = Path("scratch"), Lines(), 0

    def append(self, event: str, **fields: Any) -> Record:
        """Remember one event."""
        record: Record = {"event": event, **fields}
        self.records.add(record)
        return record

    def close(self) -> None:
        """Nothing is held."""


class ProjectSearch:
    """The project's own search: session, decisions, searcher and scheduler."""

    def __init__(self, truth: Truth, way: Way, seed: int, num_trials: int, at_a_time: int) -> None:
        """Begin one."""
        num_epochs = truth.table.num_epochs
        plan = SearchPlan(
            seed=seed,
            searcher=way.searcher,
            scheduler=way.scheduler,
            grace_epochs=way.grace,
            reduction_factor=way.reduction,
            checkpoint_rule="best",
            distributions=truth.table.distributions,
            num_epochs=lambda _: num_epochs,
            max_epochs=num_epochs,
            stopped_as=way.stopped_as,
            fitted_to=way.fitted_to or None,
        )
        limits = Limits(num_trials, None, num_trials, way.finish)
        self._decisions = Decisions(plan, ScratchLedger())
        self._session = Session(self._decisions, _assigned, limits, [])
        self._session.max_concurrent = at_a_time

    def next_trial(self) -> tuple[TrialRecord, int] | None:
        """The session's next assignment."""
        given = self._session.next_assignment()
        if given is None:
            return None
        return self._decisions.trials[given.number], len(given.standings) + 1

    def told(self, record: TrialRecord, epoch: int, metrics: Told) -> bool:
        """The worker's message, to the session."""
        message = json.dumps({"epoch": epoch, "metrics": metrics})
        stop = self._session.told(record.number, message)
        if stop:
            self._session.left(record.number)
        return stop

    def finished(self) -> list[TrialRecord]:
        """By status."""
        return [one for one in self._decisions.trials if one.status == "finished"]


def _assigned(record: TrialRecord) -> Assignment:
    return Assignment(record.number, record.seed, {}, {})
