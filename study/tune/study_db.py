"""study.db: Optuna's SQLite database as a projection of the ledger, never read for decisions."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from study.records.disk import take_away
from study.records.files import trial_id
from study.scoring.objective import ALPHA, FLOOR_HOLDS, ID_ACCURACY, SHORTFALL
from study.tune.decisions import Decisions
from study.tune.record import TrialRecord
from study.tune.sampler import Direction

CONFIRMATION = "(confirmation)"  # after the study's name: the name of the other one
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_CONSTRAINTS = "constraints"  # Optuna's own key of a trial's system attributes
# The page of a trial sorts by name and shows six without scrolling: those in capitals.
_TOLD = {
    "val/fpr95": "FPR95", "val/auroc": "AUROC", ID_ACCURACY: "ID accuracy",
    FLOOR_HOLDS: "Floor holds", ALPHA: "alpha",
}  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What optuna-dashboard shows of a trial beside its parameters and values.

    Attributes:
        begun: when, ISO 8601; "" where it is not known.
        ended: when; "" while it has not.
        attributes: by name.
        shortfall: how far it lies under the floor, at most 0 where it holds; None without one.
    """

    begun: str = ""
    ended: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    shortfall: float | None = None


def told_of(record: TrialRecord, rule: str) -> Told:
    """Times, status, reason and metrics of a trial, those of the checkpoint rule's epoch."""
    chosen = record.chosen_metrics(rule)
    attributes: dict[str, Any] = {"Status": record.status, "Reason": record.reason}
    attributes |= {"epochs": len(record.epochs), "seed": record.seed}
    attributes |= {title: chosen[name] for name, title in _TOLD.items() if name in chosen}
    return Told(record.begun, record.ended, attributes, chosen.get(SHORTFALL))


@dataclass(frozen=True)
class About:
    """What it shows of a study.

    Attributes:
        attributes: by name.
        objectives: what the values of a trial are; none where they have no names.
    """

    attributes: Mapping[str, Any] = field(default_factory=dict)
    objectives: Sequence[str] = ()


class StudyDatabase:
    """Writes ended trials in number order, in the background, while the study runs.

    The file is made anew at each session from the ledger: it then never holds a row that says
    RUNNING for a trial that no process runs. A row cannot change: where a trial was promoted after
    its own was written, the file is made anew at the end. Confirming trials are in a study of
    their own: they repeat points of the search, and would count twice in its history and
    importance.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        directions: Sequence[Direction] = ("minimize",),
        *,
        about: About | None = None,
        told: Callable[[str], Told] = lambda _: Told(),
    ) -> None:
        """Start a new database in place of an old one.

        Args:
            path: of the file.
            name: of the study.
            directions: one an objective.
            about: what is told of the study.
            told: what is told of a trial, by its id.
        """
        self._about = about or About()
        self._told = told
        self._path = path
        self._name = name
        self._directions = list(directions)
        self._written: list[FrozenTrial] = []
        self._confirmed = 0
        self._study: optuna.Study | None = None
        self._confirmation: optuna.Study | None = None
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="study-db")
        self._pending: list[Future[None]] = []
        self._submit(self._create)

    def update(self, trials: Sequence[FrozenTrial]) -> None:
        """Write the trials that have ended since, as far as all before them have."""
        ready = _ready(trials[len(self._written) :])
        self._written += ready
        for trial in ready:
            self._submit(self._add, trial, trial.state, self._of(trial))

    def update_confirming(self, trials: Sequence[FrozenTrial]) -> None:
        """The same with trials that confirm."""
        ready = _ready(trials[self._confirmed :])
        self._confirmed += len(ready)
        for trial in ready:
            self._submit(self._add_confirming, trial, trial.state, self._of(trial))

    def close(self, trials: Sequence[FrozenTrial], confirming: Sequence[FrozenTrial] = ()) -> None:
        """Write the rest, paused trials as WAITING, and wait for the file to be whole.

        Raises:
            Exception: what went wrong in the background, if anything did.
        """
        stands = [(one.state, one.intermediate_values) for one in trials[: len(self._written)]]
        if stands != [(one.state, one.intermediate_values) for one in self._written]:
            self._written, self._confirmed = [], 0
            self._submit(self._create)
        for trial in trials[len(self._written) :]:
            state = trial.state if trial.state in _ENDED else TrialState.WAITING
            self._submit(self._add, trial, state, self._of(trial))
        for trial in confirming[self._confirmed :]:
            self._submit(self._add_confirming, trial, trial.state, self._of(trial))
        self._writer.shutdown(wait=True)
        for done in self._pending:
            done.result()

    def _submit(self, action: object, *args: object) -> None:
        self._pending.append(self._writer.submit(action, *args))  # type: ignore[arg-type]

    def _create(self) -> None:
        self._study = self._confirmation = None
        for suffix in ("", "-journal", "-wal", "-shm"):
            take_away(self._path.with_name(self._path.name + suffix))
        self._study = self._new_study(self._name, self._directions)

    def _new_study(self, name: str, directions: Sequence[Direction]) -> optuna.Study:
        from sqlalchemy import URL  # of use to who writes a database

        # Quoted: in a URL's own text a "?" in a folder's name would end the path.
        url = URL.create("sqlite", database=str(self._path)).render_as_string()
        storage = optuna.storages.RDBStorage(url)
        study = optuna.create_study(storage=storage, study_name=name, directions=list(directions))
        if len(self._about.objectives) == len(directions):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                study.set_metric_names(list(self._about.objectives))
        for key, value in self._about.attributes.items():
            study.set_user_attr(key, value)
        return study

    def _of(self, trial: FrozenTrial) -> Told:
        """Of a trial as it stands now, whenever it is written."""
        return self._told(trial.user_attrs.get("trial_id", trial_id(trial.number)))

    def _add_confirming(self, trial: FrozenTrial, state: TrialState, told: Told) -> None:
        if self._confirmation is None:
            self._confirmation = self._new_study(f"{self._name} {CONFIRMATION}", ["minimize"])
        self._add_to(self._confirmation, trial, state, told)

    def _add(self, trial: FrozenTrial, state: TrialState, told: Told) -> None:
        assert self._study is not None
        self._add_to(self._study, trial, state, told)

    def _add_to(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, told: Told
    ) -> None:
        has_value = state in (TrialState.COMPLETE, TrialState.PRUNED)
        values = trial.values
        if state == TrialState.PRUNED and values is None and trial.intermediate_values:
            values = [trial.intermediate_values[max(trial.intermediate_values)]]
        names = {"trial_id": f"{trial.number:05d}"} | trial.user_attrs
        row = optuna.trial.create_trial(
            state=state,
            params=trial.params,
            distributions=trial.distributions,
            values=values if has_value else None,  # a stopped arm's trial has none
            intermediate_values=trial.intermediate_values,
            user_attrs=names | dict(told.attributes),
            system_attrs={} if told.shortfall is None else {_CONSTRAINTS: [told.shortfall]},
        )
        if told.begun and state != TrialState.WAITING:
            row.datetime_start = _local(told.begun)
        if told.ended and state in _ENDED:
            row.datetime_complete = _local(told.ended)
        study.add_trial(row)


def _local(moment: str) -> datetime:
    """As Optuna keeps times: of this machine's clock, without a zone."""
    return datetime.fromisoformat(moment).astimezone().replace(tzinfo=None)


def _ready(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those that have ended, as far as all before them have."""
    return list(itertools.takewhile(lambda trial: trial.state in _ENDED, trials))


def confirming(decisions: Decisions) -> list[FrozenTrial]:
    """The confirming trials as Optuna would have them; ``confirms`` and seed as attributes."""
    states = {"finished": TrialState.COMPLETE, "failed": TrialState.FAIL}
    trials = []
    for record in decisions.trials:
        if record.confirms is None:
            continue
        names = {"trial_id": trial_id(record.number), "confirms": trial_id(record.confirms)}
        trials.append(
            optuna.trial.create_trial(
                state=states.get(record.status, TrialState.WAITING),
                params=record.params,
                distributions={
                    name: one
                    for name, one in decisions.plan.distributions.items()
                    if name in record.params
                },
                value=decisions.value(record) if record.status == "finished" else None,
                intermediate_values=dict(enumerate(record.objectives, start=1)),
                user_attrs={**names, "seed": record.seed},
            )
        )
    return trials
