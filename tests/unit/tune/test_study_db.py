from __future__ import annotations

from pathlib import Path

import optuna
from optuna.trial import TrialState

from study.tune.study_db import StudyDatabase
from tests.toys import run_toy_search


def _rows(path: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="toy", storage=f"sqlite:///{path}").trials


def test_database_holds_the_ledgers_trials_in_number_order(tmp_path: Path) -> None:
    decisions = run_toy_search(tmp_path / "ledger", 8)
    database = StudyDatabase(tmp_path / "study.db", "toy")
    database.update(decisions.frozen)
    database.close(decisions.frozen)
    rows = _rows(tmp_path / "study.db")
    assert [row.params for row in rows] == [trial.params for trial in decisions.trials]
    assert [row.state for row in rows] == [frozen.state for frozen in decisions.frozen]
    assert [row.value for row in rows if row.state == TrialState.COMPLETE] == [
        min(trial.objectives) for trial in decisions.trials if trial.status == "finished"
    ]


def test_database_lies_in_a_folder_whose_name_means_something_in_a_url(tmp_path: Path) -> None:
    folder = tmp_path / "what? #1 50%25 é@b:c"
    folder.mkdir()
    database = StudyDatabase(folder / "study.db", "toy")
    database.close([])
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()] == [
        Path(folder.name) / "study.db"
    ]


def test_paused_trial_is_waiting_and_ends_once_in_the_next_session(tmp_path: Path) -> None:
    for stop_after, expected in ((3, TrialState.WAITING), (None, TrialState.COMPLETE)):
        decisions = run_toy_search(tmp_path / "ledger", 1, stop_after=stop_after, scheduler="none")
        database = StudyDatabase(tmp_path / "study.db", "toy")
        database.update(decisions.frozen)
        database.close(decisions.frozen)
        assert [row.state for row in _rows(tmp_path / "study.db")] == [expected]
