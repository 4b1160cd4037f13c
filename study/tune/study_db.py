"""study.db: Optuna's SQLite database as a projection of the ledger, never read for decisions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL

from study.records.files import trial_id
from study.tune.decisions import Decisions
from study.tune.sampler import Direction

CONFIRMATION = "(confirmation)"  # after the study's name: the name of the other one
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class StudyDatabase:
    """Writes ended trials in number order, in the background, while the study runs.

    The file is made anew at each session from the ledger: it then never holds a row that says
    RUNNING for a trial that no process runs. A row cannot change: where a trial was promoted after
    its own was written, the file is made anew at the end. Confirming trials are in a study of
    their own: they repeat points of the search, and would count twice in its history and
    importance.
    """

    def __init__(
        self, path: Path, name: str, directions: Sequence[Direction] = ("minimize",)
    ) -> None:
        """Start a new database at ``path`` in place of an old one; one direction an objective."""
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
            self._submit(self._add, trial, trial.state)

    def update_confirming(self, trials: Sequence[FrozenTrial]) -> None:
        """The same with trials that confirm."""
        ready = _ready(trials[self._confirmed :])
        self._confirmed += len(ready)
        for trial in ready:
            self._submit(self._add_confirming, trial, trial.state)

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
            self._submit(self._add, trial, state)
        for trial in confirming[self._confirmed :]:
            self._submit(self._add_confirming, trial, trial.state)
        self._writer.shutdown(wait=True)
        for done in self._pending:
            done.result()

    def _submit(self, action: object, *args: object) -> None:
        self._pending.append(self._writer.submit(action, *args))  # type: ignore[arg-type]

    def _create(self) -> None:
        self._study = self._confirmation = None
        for suffix in ("", "-journal", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self._study = self._new_study(self._name, self._directions)

    def _new_study(self, name: str, directions: Sequence[Direction]) -> optuna.Study:
        # Quoted: in a URL's own text a "?" in a folder's name would end the path.
        url = URL.create("sqlite", database=str(self._path)).render_as_string()
        storage = optuna.storages.RDBStorage(url)
        return optuna.create_study(storage=storage, study_name=name, directions=list(directions))

    def _add_confirming(self, trial: FrozenTrial, state: TrialState) -> None:
        if self._confirmation is None:
            self._confirmation = self._new_study(f"{self._name} {CONFIRMATION}", ["minimize"])
        self._add_to(self._confirmation, trial, state)

    def _add(self, trial: FrozenTrial, state: TrialState) -> None:
        assert self._study is not None
        self._add_to(self._study, trial, state)

    def _add_to(self, study: optuna.Study, trial: FrozenTrial, state: TrialState) -> None:
        has_value = state in (TrialState.COMPLETE, TrialState.PRUNED)
        values = trial.values
        if state == TrialState.PRUNED and values is None and trial.intermediate_values:
            values = [trial.intermediate_values[max(trial.intermediate_values)]]
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                params=trial.params,
                distributions=trial.distributions,
                values=values if has_value else None,  # a stopped arm's trial has none
                intermediate_values=trial.intermediate_values,
                user_attrs={"trial_id": f"{trial.number:05d}"} | trial.user_attrs,
            )
        )


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
