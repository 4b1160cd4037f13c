"""Experiment trackers beside TensorBoard: ``--log mlflow``, ``--log wandb``.

A tracker is a projection of the ledger, as the tables are: at the start of a session it is told
what it lacks, whoever ran before, and being told something twice changes nothing. It is told in a
thread of its own, so that a slow server costs no trial its time, and what goes wrong with it costs
the study a line of warning.
"""

from __future__ import annotations

import hashlib
import json
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from study.records.files import RunFolder, trial_id
from study.records.hold_outs import is_hold_out_folder
from study.records.ledger import Ledger
from study.tune.record import TrialRecord
from study.tune.session import Observer
from study.tune.shown import Shown

ENDED = ("finished", "pruned", "failed")
_PATIENCE_S = 60.0  # at the end of a session, for a tracker that is behind


@dataclass(frozen=True)
class TrackedStudy:
    """The study as a tracker groups its trials.

    Attributes:
        title: of the group; the name of the run's folder.
        key: the study's own, whatever folders and servers are called.
        run: its folder, where what is local is kept.
        about: what holds for all of its trials, by name.
    """

    title: str
    key: str
    run: RunFolder
    about: Mapping[str, Any]

    @classmethod
    def of(cls, run: RunFolder, ledger: Ledger, about: Mapping[str, Any]) -> TrackedStudy:
        """The study in a folder; its key is made of the ledger's first line."""
        path = run.path.resolve()
        title = f"{path.parent.name}/{path.name}" if is_hold_out_folder(path) else path.name
        first = json.dumps(ledger.records[0], sort_keys=True).encode()
        return cls(title, hashlib.sha256(first).hexdigest()[:12], run, about)


@dataclass(frozen=True)
class TrackedTrial:
    """All that is known of a trial by now.

    Attributes:
        name: its id.
        params: by dotted name.
        epochs: the metrics of each epoch.
        times: of each epoch, seconds since 1970.
        status: "running", "paused", or how it ended.
        reason: why it ended so.
        begun: seconds since 1970.
        ended: likewise; None while it has not.
        shown: what is told of an epoch.
    """

    name: str
    params: Mapping[str, Any]
    epochs: Sequence[Mapping[str, float]]
    times: Sequence[float]
    status: str
    reason: str
    begun: float
    ended: float | None
    shown: Shown

    def numbers(self, epoch: int) -> dict[str, float]:
        """The numbers of an epoch (from 1), by name."""
        return self.shown.of_epoch(self.epochs, epoch)


class Tracker(Protocol):
    """Takes trials to a tracker's server or files, each as a run of its own."""

    def show(self, trial: TrackedTrial) -> None:
        """Bring the trial's run up to this, from whatever it holds."""


class TrackerObserver(Observer):
    """Tells one tracker; from its first failure on no more."""

    def __init__(
        self,
        name: str,
        make: Callable[[], Tracker],
        shown: Shown,
        warn: Callable[[str], None],
        *,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """Start the thread.

        Args:
            name: of the tracker, for messages.
            make: connects; called in the thread.
            shown: what is told of a trial.
            warn: is told of a failure, from the thread.
            patience_s: how long the end of a session waits for what was not told yet.
        """
        self._name, self._make, self._shown, self._warn = name, make, shown, warn
        self._patience_s = patience_s
        self._left = False
        self._live: dict[int, TrialRecord] = {}
        self._queue: queue.SimpleQueue[TrackedTrial | None] = queue.SimpleQueue()
        # Not waited for where the server does not answer: the process ends without it.
        self._thread = threading.Thread(target=self._work, name=f"log-{name}", daemon=True)
        self._thread.start()

    def catch_up(self, records: Sequence[TrialRecord]) -> None:
        """Tell of the trials that ended before this session."""
        for record in records:
            if record.status in ENDED:
                self._tell(record)

    def trial_started(self, record: TrialRecord) -> None:
        """Begin the trial's run, or go on with it."""
        self._live[record.number] = record
        self._tell(record)

    def epoch(self, record: TrialRecord) -> None:
        """Tell its newest epoch."""
        self._tell(record)

    def trial_ended(self, record: TrialRecord) -> None:
        """Tell how it ended, and why."""
        self._live.pop(record.number, None)
        self._tell(record)

    def close(self) -> None:
        """Say of the trials that are live that they are paused; wait for the tracker a while."""
        for record in self._live.values():
            self._tell(replace(record, status="paused"))
        self._queue.put(None)
        self._thread.join(self._patience_s)
        if self._thread.is_alive():
            self._left = True
            self._warn(f"{self._name} is behind and is left so; {self._way_out}")

    @property
    def _way_out(self) -> str:
        return f"the run's own files are whole; --resume with --log {self._name} tells the rest"

    def _tell(self, record: TrialRecord) -> None:
        """Put what is known now into the queue: records change."""
        count = len(record.epochs)
        seconds = [datetime.fromisoformat(told).timestamp() for told in record.told[:count]]
        begun = datetime.fromisoformat(record.begun).timestamp() if record.begun else 0.0
        times = seconds + [begun] * (count - len(seconds))  # older ledgers tell no times
        ended = datetime.fromisoformat(record.ended).timestamp() if record.ended else begun
        self._queue.put(
            TrackedTrial(
                name=trial_id(record.number),
                params=dict(self._shown.params(record)),
                epochs=tuple(record.epochs),
                times=times,
                status=record.status,
                reason=record.reason,
                begun=begun,
                ended=ended if record.status in ENDED else None,
                shown=self._shown,
            )
        )

    def _work(self) -> None:
        try:
            tracker = self._make()
            while (trial := self._queue.get()) is not None:
                tracker.show(trial)
        except Exception as error:  # noqa: BLE001 - a tracker's trouble is none of the study's
            if self._left:
                return  # the user was told of it
            told = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._warn(f"{self._name} takes no more ({told}); {self._way_out}")
