from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from optuna.trial import TrialState

from study.records.files import CONFIRM
from study.records.ledger import Ledger, read_ledger
from study.space.loading import load_resolved, load_space
from study.space.reading.sections import Confirm
from study.training.assignment import Assignment
from study.tune.checkpoint_budget import losers
from study.tune.confirming import Confirming, fresh_seed
from study.tune.decisions import Decisions
from study.tune.record import TrialRecord
from study.tune.session import Limits, Session
from study.tune.study_db import confirming as frozen_confirming
from study.tune.tables import trials_table
from tests.toys import run_toy_search, toy_metrics, toy_plan

RULE = Confirm(top=2, seeds=2)


def _best(decisions: Decisions) -> list[int]:
    ended = [r for r in decisions.trials if r.status == "finished" and r.confirms is None]
    return [r.number for r in sorted(ended, key=lambda r: min(r.objectives))][: RULE.top]


def _assign(record: TrialRecord) -> Assignment:
    return Assignment(record.number, record.seed, {}, record.params)


def _study(
    path: Path,
    num_trials: int,
    *,
    stop_after: int | None = None,
    candidates: Sequence[int] | None = None,
    finish: int = 2,
) -> Decisions:
    """A session, one trial at a time, to its end or to so many epochs."""
    with Ledger(path) as ledger:
        decisions = Decisions(toy_plan(), ledger)
        choose = Confirming(
            decisions, RULE, lambda: _best(decisions) if candidates is None else candidates
        )
        limits = Limits(num_trials, None, 9, finish)
        session = Session(decisions, _assign, limits, [], confirming=choose)
        steps = 0
        while not session.exhausted and steps != stop_after:
            assignment = session.next_assignment()
            if assignment is None:
                continue  # a confirmation without candidates
            record = decisions.trials[assignment.number]
            stopped = False
            while not stopped and steps != stop_after:
                epoch = len(record.epochs) + 1
                metrics = toy_metrics(record.params, epoch)
                message = json.dumps({"epoch": epoch, "metrics": metrics})
                stopped = session.told(record.number, message)
                steps += 1
            if stopped:
                session.left(record.number)
        return decisions


def _lines(path: Path) -> list[dict[str, object]]:
    dropped = ("time", "crc32")
    return [{k: v for k, v in r.items() if k not in dropped} for r in read_ledger(path)[0]]


def test_confirmation_follows_the_search_and_is_on_the_ledger_first(tmp_path: Path) -> None:
    decisions = _study(tmp_path / "ledger", 6)
    asks = [line for line in _lines(tmp_path / "ledger") if line["event"] in ("ask", CONFIRM)]
    (event,) = [line for line in asks if line["event"] == CONFIRM]
    assert asks.index(event) == 6
    first, second = _best(decisions)
    assert event["candidates"] == [first, second]
    assert [line["confirms"] for line in asks[7:]] == [first, second, first, second]
    for record in decisions.trials[6:]:
        assert record.confirms is not None
        assert record.params == decisions.trials[record.confirms].params
        assert (record.arm, record.status, len(record.epochs)) == (CONFIRM, "finished", 9)


def test_seeds_of_a_confirmation_are_fresh_and_all_different(tmp_path: Path) -> None:
    decisions = _study(tmp_path / "ledger", 6)
    seeds = [record.seed for record in decisions.trials[6:]]
    assert len({*seeds, decisions.plan.seed}) == 5
    first, second = _best(decisions)
    wanted = [fresh_seed(0, candidate, k) for k in (0, 1) for candidate in (first, second)]
    assert seeds == wanted


@pytest.mark.parametrize("before_end", [1, 9, 10, 27, 36, 37])
def test_confirmation_cut_off_and_resumed_writes_the_same_ledger(
    tmp_path: Path, before_end: int
) -> None:
    whole = _study(tmp_path / "whole", 6)
    epochs = sum(len(record.epochs) for record in whole.trials)
    _study(tmp_path / "cut", 6, stop_after=epochs - before_end)
    assert _lines(tmp_path / "cut") != _lines(tmp_path / "whole")
    _study(tmp_path / "cut", 6)
    assert _lines(tmp_path / "cut") == _lines(tmp_path / "whole")


def test_search_that_is_extended_after_a_confirmation_goes_on_as_if_there_was_none(
    tmp_path: Path,
) -> None:
    plain = run_toy_search(tmp_path / "plain", 14)
    before = _study(tmp_path / "ledger", 9, finish=0)
    assert len(before.trials) > 9
    decisions = _study(tmp_path / "ledger", 14, finish=0)
    searched = [record for record in decisions.trials if record.confirms is None]
    told = [(r.params, r.status, r.objectives) for r in searched]
    assert told == [(r.params, r.status, r.objectives) for r in plain.trials]
    names = [trial.user_attrs["trial_id"] for trial in decisions.frozen]
    assert names == [f"{record.number:05d}" for record in searched]
    assert names[9] == f"{len(before.trials):05d}"  # confirming trials came in between


def test_candidate_that_is_chosen_again_keeps_its_runs(tmp_path: Path) -> None:
    _study(tmp_path / "ledger", 6, candidates=[0, 2])
    decisions = _study(tmp_path / "ledger", 7, candidates=[2, 6 + 4])
    events = [line for line in _lines(tmp_path / "ledger") if line["event"] == CONFIRM]
    assert [event["num_searched"] for event in events] == [6, 7]
    confirmed = [record.confirms for record in decisions.trials if record.confirms is not None]
    assert confirmed == [0, 2, 0, 2, 10, 10]


def test_confirmation_without_a_candidate_ends_the_study(tmp_path: Path) -> None:
    decisions = _study(tmp_path / "ledger", 3, candidates=[])
    assert len(decisions.trials) == 3
    again = _study(tmp_path / "ledger", 3, candidates=[1])
    assert len(again.trials) == 3  # what is on the ledger is decided


def test_confirming_trial_waits_for_the_last_live_trial_of_the_search(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        decisions = Decisions(toy_plan(num_epochs=lambda _: 1, scheduler="none"), ledger)
        confirming = Confirming(decisions, RULE, lambda: [0])
        session = Session(decisions, _assign, Limits(1, None, 9), [], confirming=confirming)
        session.max_concurrent = 2
        assert session.next_assignment() is not None
        assert session.next_assignment() is None
        assert not session.exhausted
        metrics = toy_metrics(decisions.trials[0].params, 1)
        session.told(0, json.dumps({"epoch": 1, "metrics": metrics}))
        session.left(0)
        assert not session.exhausted
        assert [session.next_assignment() is not None for _ in range(3)] == [True, True, False]


def test_failed_confirming_trial_is_not_told_to_optuna(tmp_path: Path) -> None:
    for _ in range(2):
        with Ledger(tmp_path / "ledger") as ledger:
            decisions = Decisions(toy_plan(num_epochs=lambda _: 1), ledger)
            if not decisions.trials:
                asked = decisions.ask()
                assert asked is not None
                decisions.result(0, 1, toy_metrics(asked.params, 1))
                decisions.ask_again(0, seed=77)
                decisions.failed(1, reason="loss is nan", cause="diverged")
            assert [record.status for record in decisions.trials] == ["finished", "failed"]
            assert len(decisions.frozen) == 1
            (trial,) = frozen_confirming(decisions)
            assert (trial.state, trial.user_attrs["confirms"]) == (TrialState.FAIL, "00000")


def test_section_comes_back_from_the_resolved_spec(tmp_path: Path) -> None:
    spec = load_space("energy", ["select.confirm={top: 3, seeds: 2}"])
    assert spec.select.confirm == Confirm(top=3, seeds=2)
    (tmp_path / "spec.yaml").write_text(spec.dump())
    assert load_resolved(tmp_path / "spec.yaml") == spec
    off = load_space("energy", ["select.confirm=null"])
    assert off.select.confirm is None


def test_weights_of_confirming_trials_are_never_losers(tmp_path: Path) -> None:
    decisions = _study(tmp_path / "ledger", 6)
    gone = losers(decisions.trials, "best")
    assert gone
    assert all(record.confirms is None for record in gone)


def test_tables_name_the_trial_that_is_confirmed(tmp_path: Path) -> None:
    decisions = _study(tmp_path / "ledger", 6)
    table = trials_table(decisions.trials, lambda record: record.params, "best", live=False)
    first, second = _best(decisions)
    assert table["arm"].tolist() == ["search"] * 6 + [CONFIRM] * 4
    names = [f"{number:05d}" for number in (first, second)]
    assert table["confirms"].tolist() == [""] * 6 + names * 2
