"""study.db: Optuna's SQLite database as a projection of the ledger, never read for decisions."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class StudyDatabase:
    """Writes ended trials in number order, in the background, while the study runs.

    The file is made anew at each session from the ledger: it then never holds a row that says
    RUNNING for a trial that no process runs.
    """

    def __init__(self, path: Path, name: str) -> None:
        """Start a new database at ``path`` in place of an old one."""
        self._path = path
        self._name = name
        self._written = 0
        self._study: optuna.Study | None = None
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="study-db")
        self._pending: list[Future[None]] = []
        self._submit(self._create)

    def update(self, trials: Sequence[FrozenTrial]) -> None:
        """Write the trials that have ended since, as far as all before them have."""
        ready = []
        for trial in trials[self._written :]:
            if trial.state not in _ENDED:
                break
            ready.append(trial)
        self._written += len(ready)
        for trial in ready:
            self._submit(self._add, trial, trial.state)

    def close(self, trials: Sequence[FrozenTrial]) -> None:
        """Write the rest, paused trials as WAITING, and wait for the file to be whole.

        Raises:
            Exception: what went wrong in the background, if anything did.
        """
        for trial in trials[self._written :]:
            state = trial.state if trial.state in _ENDED else TrialState.WAITING
            self._submit(self._add, trial, state)
        self._writer.shutdown(wait=True)
        for done in self._pending:
            done.result()

    def _submit(self, action: object, *args: object) -> None:
        self._pending.append(self._writer.submit(action, *args))  # type: ignore[arg-type]

    def _create(self) -> None:
        for suffix in ("", "-journal", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        storage = optuna.storages.RDBStorage(f"sqlite:///{self._path}")
        self._study = optuna.create_study(
            storage=storage, study_name=self._name, direction="minimize"
        )

    def _add(self, trial: FrozenTrial, state: TrialState) -> None:
        assert self._study is not None
        has_value = state in (TrialState.COMPLETE, TrialState.PRUNED)
        value = trial.value
        if state == TrialState.PRUNED and value is None:
            value = trial.intermediate_values[max(trial.intermediate_values)]
        self._study.add_trial(
            optuna.trial.create_trial(
                state=state,
                params=trial.params,
                distributions=trial.distributions,
                value=value if has_value else None,
                intermediate_values=trial.intermediate_values,
                user_attrs={"trial_id": f"{trial.number:05d}"},
            )
        )
