"""One sitting of a search: which trials are live, what they tell, and when to stop.

Stands between the decisions (ledger) and whatever runs trials; Ray's adapters only translate.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from study.counted import counted
from study.errors import BadInput, Fault, StudyFailed
from study.records.disk import is_disk_full
from study.records.failures import DISK, DIVERGED, FILE, LOST, MEMORY
from study.records.files import trial_id
from study.searchers.rungs import Place
from study.training.assignment import Assignment
from study.tune.confirming import Confirming
from study.tune.decisions import BY_RUNG, CONTINUE, TO_FINISH, Decisions, Why
from study.tune.record import TrialRecord

# Why a session stops before its end.
INTERRUPT, TIME_BUDGET, DISK_FULL = "interrupt", "time budget", "disk full"
_LOST_LIMIT = 3  # so often a trial goes on whose worker died; then it is taken to be the cause


Ask = Callable[[], TrialRecord | None]
"""Gives out the next trial, on the ledger; None where there is none now."""


class Observer:
    """Is told what happens in a session, after it is on the ledger; does nothing by itself."""

    def trial_started(self, record: TrialRecord) -> None:
        """A trial was given to a worker."""

    def trial_promoted(self, record: TrialRecord, place: Place) -> None:
        """A trial that a rung had stopped goes on, for the place that it has there."""

    def epoch(self, record: TrialRecord) -> None:
        """A trial recorded an epoch."""

    def trial_retried(self, record: TrialRecord, reason: str) -> None:
        """A trial was out of memory; it goes on once nothing else is live."""

    def trial_lost(self, record: TrialRecord, cause: str) -> None:
        """A trial's worker died; it goes on after its last recorded epoch."""

    def trial_ended(self, record: TrialRecord) -> None:
        """A trial finished, was pruned or failed."""


@dataclass(frozen=True)
class Limits:
    """When a session stops giving out trials.

    Attributes:
        num_trials: of the whole study.
        time_budget_s: of this session, None for no limit.
        max_failures: failed trials in a row that stop the study.
        finish: so many trials are to finish above the floor: once all were begun, the best of
            those that rungs have stopped go on to their end.
    """

    num_trials: int
    time_budget_s: float | None
    max_failures: int
    finish: int = 0


class Session:
    """Live trials of one sitting.

    Attributes:
        error: the first fatal error; the session then only winds down.
        stopping: why no more trials are given out: INTERRUPT, TIME_BUDGET or DISK_FULL, ""
            while they are. Trials that are live then pause at their next epoch.
        disk_full: what could not be written; nothing is recorded after that, since what could
            not be is known to this process alone.
        max_concurrent: trials at a time; set once the machine's resources are known.
    """

    def __init__(
        self,
        decisions: Decisions,
        assign: Callable[[TrialRecord], Assignment],
        limits: Limits,
        observers: Sequence[Observer],
        *,
        ask: Ask | None = None,
        confirming: Confirming | None = None,
    ) -> None:
        """Begin a sitting.

        Args:
            decisions: what is on the ledger, and who decides.
            assign: turns a trial's parameters into what a worker is told to do.
            limits: when it ends.
            observers: are told what happens.
            ask: gives out the trials of the search or ablation; by default ``decisions`` do.
            confirming: gives out trials once these have ended; None without a confirmation.
        """
        self.decisions = decisions
        self.error: BaseException | None = None
        self.stopping = ""
        self.disk_full = ""
        self.max_concurrent = 1
        self._ask = ask or decisions.ask
        self._confirming = confirming
        self._assign = assign
        self._limits = limits
        self._observers = observers
        self._live: set[int] = set()
        self._failures = 0
        self._began = time.monotonic()

    def stop(self, reason: str) -> None:
        """Give out no more trials; live ones pause at their next epoch."""
        if reason == INTERRUPT or not self.stopping:
            self.stopping = reason

    def next_assignment(self) -> Assignment | None:
        """The next trial to run; None where there is none now (see ``exhausted``)."""
        self._watch_time()
        if self.error or self.stopping or len(self._live) >= self.max_concurrent:
            return None
        given = None
        with self.pausing_on_full_disk():
            record = self._next_record()
            if record is not None:
                given = replace(
                    self._assign(record), standings=record.standings, scores=tuple(record.scores)
                )
                for observer in self._observers:
                    observer.trial_started(record)
                self._live.add(record.number)  # last: what failed above was given to nobody
        return None if self.disk_full else given

    def _next_record(self) -> TrialRecord | None:
        """The lowest unfinished trial, else a promoted one, else a new one, and so on.

        One that was out of memory runs alone.
        """
        trials = self.decisions.trials
        if any(trials[number].retried for number in self._live):
            return None
        record = next((r for r in self.decisions.unfinished if r.number not in self._live), None)
        if record is not None:
            return None if record.retried and self._live else record
        if (place := self.decisions.promotable()) is not None:
            return self._promoted(place, BY_RUNG)
        if self._more_to_ask:
            return self._ask()
        if (place := self.decisions.promotable(self._limits.finish)) is not None:
            return self._promoted(place, TO_FINISH)
        return None if self._confirming is None else self._confirming.next_trial()

    def _promoted(self, place: Place, why: Why) -> TrialRecord:
        record = self.decisions.promote(place, why)
        for observer in self._observers:
            observer.trial_promoted(record, place)
        return record

    @property
    def _more_to_ask(self) -> bool:
        """Whether the search has trials that were not begun."""
        return self.decisions.num_searched < self.num_wanted

    @contextmanager
    def pausing_on_full_disk(self) -> Iterator[None]:
        """Where what is done inside finds the disk full, the session pauses and goes on after."""
        try:
            yield
        except Exception as error:
            if not is_disk_full(error):
                raise
            self.pause_on_full_disk(str(error))

    def pause_on_full_disk(self, told: str) -> None:
        """Give out and record nothing any more; ``told`` says what could not be written."""
        self.disk_full = self.disk_full or told
        self.stopping = self.stopping or DISK_FULL

    @property
    def num_wanted(self) -> int:
        """Trials that the search is to have; a grid has no more than its points."""
        grid = self.decisions.plan.grid
        return min(self._limits.num_trials, len(grid) or self._limits.num_trials)

    @property
    def exhausted(self) -> bool:
        """Whether nothing is live and nothing will be given out any more."""
        if self._live:
            return False
        if self.error or self.stopping:
            return True
        decisions = self.decisions
        if decisions.unfinished or self._more_to_ask:
            return False
        if decisions.promotable() or decisions.promotable(self._limits.finish):
            return False
        return self._confirming is None or self._confirming.asked

    def told(self, number: int, message: str) -> bool:
        """Take a trial's message; True where the trial is to stop."""
        self._watch_time()
        stop = True
        with self.pausing_on_full_disk():
            stop = bool(self.disk_full) or self._told(number, _checked(json.loads(message)))
        return stop

    def _told(self, number: int, told: dict[str, Any]) -> bool:
        record = self.decisions.trials[number]
        if record.status != "running":
            return True  # a worker that was slow to hear that it is over
        if "failed" in told:
            return self._told_of_failure(record, told)
        known = told["epoch"] <= len(record.epochs)  # trained again for want of a checkpoint
        decision = self.decisions.result(number, **told)
        for observer in () if known else self._observers:
            observer.epoch(record)
        if decision != CONTINUE:
            return self._ended(record)
        return bool(self.stopping or self.error)

    def _told_of_failure(self, record: TrialRecord, told: dict[str, str]) -> bool:
        reason, cause = told["failed"], told["cause"]
        if cause == DISK:
            self.pause_on_full_disk(reason)
            return True
        if cause == FILE:  # the trial goes on once the file is mended or removed
            fault = Fault(f"trial {trial_id(record.number)}", "", reason)
            self.error = self.error or BadInput(fault)
            return True
        if cause == MEMORY and not record.retried:
            self.decisions.retried(record.number, reason=reason, cause=cause)
            for observer in self._observers:
                observer.trial_retried(record, reason)
            return True
        if cause == MEMORY:
            reason = f"{reason} (for the second time, then alone)"
        self.decisions.failed(
            record.number, reason=reason, cause=cause, traceback=told["traceback"]
        )
        return self._ended(record)

    def _ended(self, record: TrialRecord) -> bool:
        self._failures = self._failures + 1 if record.status == "failed" else 0
        for observer in self._observers:
            observer.trial_ended(record)
        if record.status == "failed" and self._failures >= self._limits.max_failures:
            last = trial_id(record.number)
            self.error = self.error or StudyFailed(
                f"{counted(self._failures, 'trial')} in a row failed, the last one (trial {last}) "
                f"with: {record.reason}. Mend the cause, then resume."
            )
        return True

    def left(self, number: int, *, died: str = "") -> None:
        """A worker is done with a trial; ``died`` says how, where it did not end by itself.

        `study.tune.record.NODE_LOST` is no fault of the trial, and is never counted against it.
        """
        self._live.discard(number)
        record = self.decisions.trials[number]
        if not died or record.status != "running" or self.disk_full:
            return
        with self.pausing_on_full_disk():
            self.decisions.lost(number, died)
            if record.lost > _LOST_LIMIT:
                reason = f"its worker died {record.lost} times: {died}"
                self.decisions.failed(number, reason=reason, cause=LOST)
                self._ended(record)
                return
            for observer in self._observers:
                observer.trial_lost(record, died)

    def _watch_time(self) -> None:
        budget = self._limits.time_budget_s
        if budget is not None and time.monotonic() - self._began > budget:
            self.stop(TIME_BUDGET)


def _checked(told: dict[str, Any]) -> dict[str, Any]:
    """``told``, or a failure where a metric is not finite: the ledger holds numbers alone."""
    for name, value in told.get("metrics", {}).items():
        if not math.isfinite(value):
            reason = f"epoch {told['epoch']}: {name} is {value}"
            return {"failed": reason, "cause": DIVERGED, "traceback": ""}
    return told
