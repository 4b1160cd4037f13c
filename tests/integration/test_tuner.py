"""The project's tuner on a real Ray, with functions that train nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from study.errors import StudyFailed
from study.records.files import RunFolder
from study.records.ledger import Ledger, read_ledger
from study.training.assignment import Assignment
from study.tune.decisions import Decisions
from study.tune.ray_tuner import run_session
from study.tune.record import TrialRecord
from study.tune.resources import Resources
from study.tune.session import Limits, Session
from study.tune.study_db import StudyDatabase
from study.tune.tables import write_tables
from tests.integration.workers import forgetful, steady, troubled
from tests.toys import run_toy_search, toy_metrics, toy_plan

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_running_here")]


def _search(
    folder: Path,
    function: Callable[..., None],
    num_trials: int,
    *,
    at_once: int = 2,
    max_failures: int = 9,
    payload: dict[str, Any] | None = None,
    **plan: Any,
) -> Decisions:
    with Ledger(folder / "ledger.jsonl") as ledger:
        decisions = Decisions(toy_plan(**plan), ledger)
        limits = Limits(num_trials, time_budget_s=None, max_failures=max_failures)
        session = Session(decisions, _assign, limits, [])
        session.max_concurrent = at_once
        resources = Resources(1.0, 0.0, at_once)
        run_session(session, function, payload or {}, resources, folder / "scratch")
        if session.error is not None:
            raise session.error
        assert session.exhausted
    assert not (folder / "scratch").exists()
    return decisions


def _assign(record: TrialRecord) -> Assignment:
    return Assignment(record.number, record.seed, {}, record.params)


def _plain(path: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k != "time"} for r in read_ledger(path)[0]]


def test_one_trial_at_a_time_writes_the_ledger_that_a_search_without_ray_writes(
    tmp_path: Path,
) -> None:
    _search(tmp_path, steady, 8, at_once=1)
    run_toy_search(tmp_path / "without.jsonl", 8)
    with_ray, without = (_plain(tmp_path / f"{n}.jsonl") for n in ("ledger", "without"))
    drop = lambda r: {k: v for k, v in r.items() if k != "crc32"}  # noqa: E731 - a filter
    assert [drop(r) for r in with_ray] == [drop(r) for r in without]


def test_trials_that_do_nothing_end_in_no_time_each_epoch_once(tmp_path: Path) -> None:
    begun = time.monotonic()
    decisions = _search(tmp_path, steady, 12)
    assert time.monotonic() - begun < 60  # Ray's default takes 2 s a trial; 60 end within 10 s
    assert {record.status for record in decisions.trials} <= {"finished", "pruned"}
    assert len(decisions.trials) == 12
    for record in decisions.trials:
        expected = [toy_metrics(record.params, e + 1) for e in range(len(record.epochs))]
        assert record.epochs == expected


def test_search_goes_on_where_another_left_it(tmp_path: Path) -> None:
    run_toy_search(tmp_path / "ledger.jsonl", 6, stop_after=7)
    before = _plain(tmp_path / "ledger.jsonl")
    decisions = _search(tmp_path, steady, 6, at_once=1)
    assert _plain(tmp_path / "ledger.jsonl")[: len(before)] == before
    run_toy_search(tmp_path / "whole.jsonl", 6)
    assert _plain(tmp_path / "ledger.jsonl") == _plain(tmp_path / "whole.jsonl")
    assert not decisions.unfinished


@pytest.fixture(scope="module")
def troubles(tmp_path_factory: pytest.TempPathFactory, ray_running_here: None) -> Path:
    """A search whose trials 1 to 5 raise, diverge, exit, are killed and tell what is no number."""
    folder = tmp_path_factory.mktemp("troubles")
    decisions = _search(
        folder, troubled, 8, payload={"marks": str(folder)}, scheduler="none", searcher="random"
    )
    run = RunFolder(folder)
    write_tables(run, decisions.trials, lambda record: record.params, "best", live=False)
    database = StudyDatabase(run.study_db, "toy")
    database.update(decisions.frozen)
    database.close(decisions.frozen)
    return folder


def _trials(folder: Path) -> list[TrialRecord]:
    with Ledger(folder / "ledger.jsonl") as ledger:
        return Decisions(toy_plan(scheduler="none", searcher="random"), ledger).trials


def test_function_that_raises_fails_its_trial_alone_and_is_not_tried_again(
    troubles: Path,
) -> None:
    records = _trials(troubles)
    raised = records[1]
    assert (raised.status, raised.cause, len(raised.epochs)) == ("failed", "bug", 1)
    assert raised.reason == "RuntimeError: a bug that trial 1 met"
    assert "in _raise" in raised.traceback
    assert (troubles / "1").read_text().split() == ["0"]
    assert [records[n].status for n in (0, 6, 7)] == ["finished"] * 3


def test_diverging_trial_is_failed_with_its_reason_and_not_tried_again(troubles: Path) -> None:
    record = _trials(troubles)[2]
    assert (record.status, record.cause, record.lost) == ("failed", "diverged", 0)
    assert record.reason == "epoch 2, step 3: loss is nan"
    assert (troubles / "2").read_text().split() == ["0"]


def test_metric_that_is_not_a_number_fails_its_trial_alone(troubles: Path) -> None:
    record = _trials(troubles)[5]
    assert (record.status, record.cause, len(record.epochs)) == ("failed", "diverged", 1)
    assert "val/objective is nan" in record.reason


@pytest.mark.parametrize("number", [3, 4])
def test_trial_whose_worker_died_goes_on_after_its_recorded_epoch(
    troubles: Path, number: int
) -> None:
    record = _trials(troubles)[number]
    assert (record.status, record.lost, len(record.epochs)) == ("finished", 1, 9)
    assert (troubles / str(number)).read_text().split() == ["0", "1"]


def test_status_is_the_same_in_ledger_database_and_table(troubles: Path) -> None:
    run = RunFolder(troubles)
    table = pd.read_parquet(run.trials)
    rows = optuna.load_study(study_name="toy", storage=f"sqlite:///{run.study_db}").trials
    states = {"finished": TrialState.COMPLETE, "failed": TrialState.FAIL}
    records = _trials(troubles)
    assert table["status"].tolist() == [record.status for record in records]
    assert [row.state for row in rows] == [states[record.status] for record in records]
    assert [row.user_attrs["trial_id"] for row in rows] == table["trial_id"].tolist()


def test_failures_in_a_row_end_the_search_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(StudyFailed, match=r"2 trials in a row.*loss is nan"):
        _search(
            tmp_path, troubled, 9, at_once=1, max_failures=2, scheduler="none",
            payload={"marks": str(tmp_path)}, searcher="random",
        )  # fmt: skip
    records, _ = read_ledger(tmp_path / "ledger.jsonl")
    assert records[-1]["event"] == "failed"


def test_trial_out_of_memory_is_tried_once_more_alone_and_then_failed(tmp_path: Path) -> None:
    decisions = _search(
        tmp_path, forgetful, 4, payload={"marks": str(tmp_path)}, scheduler="none",
        searcher="random",
    )  # fmt: skip
    records = decisions.trials
    assert [record.status for record in records] == ["finished", "finished", "failed", "finished"]
    assert [record.retried for record in records] == [0, 1, 1, 0]
    assert records[2].cause == "memory"
    for number in (1, 2):
        assert (tmp_path / str(number)).read_text().split() == ["0", "1"]
    told = [r for r in read_ledger(tmp_path / "ledger.jsonl")[0] if r["event"] == "retried"]
    assert [(r["number"], r["epoch"], r["cause"]) for r in told] == [
        (1, 1, "memory"), (2, 1, "memory"),
    ]  # fmt: skip
