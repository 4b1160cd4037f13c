from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import optuna
from optuna.trial import TrialState

from study.tune.record import TrialRecord
from study.tune.study_db import About, StudyDatabase, Told, told_of
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


BEGUN, ENDED = "2026-01-01T10:00:00+00:00", "2026-01-01T10:05:00+00:00"


def test_row_has_the_trials_times_so_that_a_timeline_shows_them(tmp_path: Path) -> None:
    decisions = run_toy_search(tmp_path / "ledger", 3)
    database = StudyDatabase(tmp_path / "study.db", "toy", told=lambda _: Told(BEGUN, ENDED))
    database.close(decisions.frozen)
    for row in _rows(tmp_path / "study.db"):
        assert row.datetime_start is not None
        assert row.datetime_start.astimezone() == datetime.fromisoformat(BEGUN)
        assert row.duration == timedelta(minutes=5)


def test_row_tells_status_reason_metrics_and_whether_the_floor_holds(tmp_path: Path) -> None:
    metrics = {
        "val/fpr95": 0.3, "val/auroc": 0.9, "val/id_accuracy": 0.8, "val/floor_shortfall": 0.1,
        "val/objective": 2.3,
    }  # fmt: skip
    record = TrialRecord(0, 7, {}, epochs=[metrics], status="finished", reason="all", begun=BEGUN)
    told = told_of(record, "best")
    assert told.attributes == {
        "Status": "finished", "Reason": "all", "epochs": 1, "seed": 7, "FPR95": 0.3,
        "AUROC": 0.9, "ID accuracy": 0.8,
    }  # fmt: skip
    decisions = run_toy_search(tmp_path / "ledger", 1, scheduler="none")
    database = StudyDatabase(tmp_path / "study.db", "toy", told=lambda _: told)
    database.close(decisions.frozen)
    (row,) = _rows(tmp_path / "study.db")
    assert row.user_attrs["Reason"] == "all"
    assert list(row.constraints.values()) == [0.1]


def test_study_names_its_objective_and_tells_what_it_is(tmp_path: Path) -> None:
    about = About({"recipe": "energy"}, ["val/objective"])
    StudyDatabase(tmp_path / "study.db", "toy", about=about).close([])
    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert study.metric_names == ["val/objective"]
    assert study.user_attrs == {"recipe": "energy"}


def test_folder_in_the_databases_place_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / "study.db" / "below").mkdir(parents=True)
    StudyDatabase(tmp_path / "study.db", "toy").close([])
    assert _rows(tmp_path / "study.db") == []


def _tables(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """What lies in the tables of trials, without the numbers of rows."""
    with closing(sqlite3.connect(path)) as connection:
        every = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = [name for (name,) in every if name.startswith("trial")]
        return {
            name: sorted(row[1:] for row in connection.execute(f"SELECT * FROM {name}"))
            for name in names
        }


def test_rows_are_those_that_optunas_own_storage_writes(tmp_path: Path) -> None:
    decisions = run_toy_search(tmp_path / "ledger", 8)
    told = Told(BEGUN, ENDED, {"Reason": 'all "epochs"', "epochs": 2}, 0.1)
    database = StudyDatabase(tmp_path / "study.db", "toy", told=lambda _: told)
    database.close(decisions.frozen)
    plain = optuna.create_study(study_name="toy", storage=f"sqlite:///{tmp_path / 'plain.db'}")
    for row in _rows(tmp_path / "study.db"):
        plain.add_trial(row)
    found = _tables(tmp_path / "study.db")
    assert all(found[name] for name in ("trials", "trial_params", "trial_intermediate_values"))
    assert found == _tables(tmp_path / "plain.db")
