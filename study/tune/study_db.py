"""study.db: Optuna's SQLite database as a projection of the ledger, never read for decisions."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
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
_FINITE = "FINITE"  # of Optuna's kinds of numbers
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
        self._submit(self._add, [_Row(one, one.state, self._of(one)) for one in ready])

    def update_confirming(self, trials: Sequence[FrozenTrial]) -> None:
        """The same with trials that confirm."""
        ready = _ready(trials[self._confirmed :])
        self._confirmed += len(ready)
        self._submit(self._add_confirming, [_Row(one, one.state, self._of(one)) for one in ready])

    def close(self, trials: Sequence[FrozenTrial], confirming: Sequence[FrozenTrial] = ()) -> None:
        """Write the rest, paused trials as WAITING, and wait for the file to be whole.

        Raises:
            Exception: what went wrong in the background, if anything did.
        """
        stands = [(one.state, one.intermediate_values) for one in trials[: len(self._written)]]
        if stands != [(one.state, one.intermediate_values) for one in self._written]:
            self._written, self._confirmed = [], 0
            self._submit(self._create)
        rest = [
            _Row(one, one.state if one.state in _ENDED else TrialState.WAITING, self._of(one))
            for one in trials[len(self._written) :]
        ]
        self._submit(self._add, rest)
        others = [_Row(one, one.state, self._of(one)) for one in confirming[self._confirmed :]]
        self._submit(self._add_confirming, others)
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
        self._storage = optuna.storages.RDBStorage(url)
        study = optuna.create_study(
            storage=self._storage, study_name=name, directions=list(directions)
        )
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

    def _add_confirming(self, rows: Sequence[_Row]) -> None:
        if rows and self._confirmation is None:
            self._confirmation = self._new_study(f"{self._name} {CONFIRMATION}", ["minimize"])
        self._add_to(self._confirmation, rows)

    def _add(self, rows: Sequence[_Row]) -> None:
        self._add_to(self._study, rows)

    def _add_to(self, study: optuna.Study | None, rows: Sequence[_Row]) -> None:
        """Insert into the tables of Optuna's storage, in one transaction.

        A trial at a time through its API took 20 ms and 80 kB, and a millisecond for each epoch.
        """
        if not rows:
            return
        assert study is not None
        from optuna.storages._rdb import models
        from sqlalchemy import func, insert, select
        from sqlalchemy.orm import Session

        name, model = study.study_name, models.TrialModel
        with Session(self._storage.engine) as session, session.begin():
            of_study = models.StudyModel.study_name == name
            study_id = session.scalars(select(models.StudyModel.study_id).where(of_study)).one()
            held = select(func.count()).where(model.study_id == study_id)
            first = session.scalars(held).one()
            trials = [
                model(study_id=study_id, number=number, state=row.state, **row.times)
                for number, row in enumerate(rows, start=first)
            ]
            session.add_all(trials)
            session.flush()
            parts: dict[Any, list[dict[str, Any]]] = {
                models.TrialValueModel: [], models.TrialParamModel: [],
                models.TrialIntermediateValueModel: [], models.TrialUserAttributeModel: [],
                models.TrialSystemAttributeModel: [],
            }  # fmt: skip
            for trial, row in zip(trials, rows, strict=True):
                for table, told in zip(parts, row.parts(), strict=True):
                    parts[table] += [{"trial_id": trial.trial_id} | one for one in told]
            for table, told in parts.items():
                if told:
                    session.execute(insert(table), told)


@dataclass(frozen=True)
class _Row:
    """A trial as it is written; all its numbers are finite, since the ledger holds no others."""

    trial: FrozenTrial
    state: TrialState
    told: Told

    @property
    def times(self) -> dict[str, datetime]:
        times = {}
        if self.told.begun and self.state != TrialState.WAITING:
            times["datetime_start"] = _local(self.told.begun)
        if self.told.ended and self.state in _ENDED:
            times["datetime_complete"] = _local(self.told.ended)
        return times

    @property
    def values(self) -> Sequence[float]:
        """None of a failed trial, nor of one that was never run since its arm was stopped."""
        reported = self.trial.intermediate_values
        if self.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            return []
        if self.state == TrialState.PRUNED and self.trial.values is None and reported:
            return [reported[max(reported)]]
        return self.trial.values or []

    def parts(self) -> Iterator[list[dict[str, Any]]]:
        """Columns of values, parameters, epochs, attributes for users and Optuna's own."""
        trial, told = self.trial, self.told
        yield [
            {"objective": number, "value": value, "value_type": _FINITE}
            for number, value in enumerate(self.values)
        ]
        yield [
            {
                "param_name": name,
                "param_value": trial.distributions[name].to_internal_repr(value),
                "distribution_json": distribution_to_json(trial.distributions[name]),
            }
            for name, value in trial.params.items()
        ]
        yield [
            {"step": step, "intermediate_value": value, "intermediate_value_type": _FINITE}
            for step, value in trial.intermediate_values.items()
        ]
        names = {"trial_id": trial_id(trial.number)} | trial.user_attrs
        own = {} if told.shortfall is None else {_CONSTRAINTS: [told.shortfall]}
        for attributes in (names | dict(told.attributes), own):
            yield [{"key": k, "value_json": json.dumps(v)} for k, v in attributes.items()]


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
