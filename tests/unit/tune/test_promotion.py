"""Trials that a rung stops and that go on: on the ledger, in any session, told to everyone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from study.errors import BadInput
from study.records.ledger import Ledger, Record, encode, read_ledger
from study.tune.decisions import BY_RUNG, RULES, TO_FINISH, Decisions
from study.tune.study_db import StudyDatabase
from tests.toys import run_toy_search, toy_metrics, toy_plan


def _plain(path: Path) -> list[Record]:
    return [{k: v for k, v in r.items() if k != "time"} for r in read_ledger(path)[0]]


def _promoted(path: Path) -> list[Record]:
    return [record for record in read_ledger(path)[0] if record["event"] == "promoted"]


def _rewrite(path: Path, records: list[Record]) -> None:
    bodies = [{k: v for k, v in r.items() if k != "crc32"} for r in records]
    path.write_bytes(b"".join(encode(body) for body in bodies))


def test_trial_that_came_first_is_stopped_and_goes_on_later(tmp_path: Path) -> None:
    decisions = run_toy_search(tmp_path / "ledger", 20)
    stops = [r for r in read_ledger(tmp_path / "ledger")[0] if r.get("decision") == "pruned"]
    assert stops[0]["number"] == 0
    promoted = _promoted(tmp_path / "ledger")
    assert promoted
    for event in promoted:
        assert event["place"] <= event["of"] // 3
        assert event["why"] == BY_RUNG
        assert len(decisions.trials[event["number"]].epochs) > event["epoch"]


@pytest.mark.parametrize("changes", [{}, {"searcher": "cmaes", "finish": 3}])
def test_ledger_cut_after_any_line_is_gone_on_with_as_if_it_had_not_been(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    run_toy_search(tmp_path / "whole", 6, **changes)
    records = read_ledger(tmp_path / "whole")[0]
    assert _promoted(tmp_path / "whole")
    for length in range(len(records)):
        _rewrite(tmp_path / "cut", records[:length])
        run_toy_search(tmp_path / "cut", 6, **changes)
        assert _plain(tmp_path / "cut") == _plain(tmp_path / "whole"), length


def test_extended_search_promotes_what_one_go_promotes(tmp_path: Path) -> None:
    run_toy_search(tmp_path / "whole", 20)
    run_toy_search(tmp_path / "extended", 7)
    run_toy_search(tmp_path / "extended", 20)
    assert _plain(tmp_path / "extended") == _plain(tmp_path / "whole")


def test_promotion_leaves_the_draws_of_later_trials_as_they_are(tmp_path: Path) -> None:
    promoting = run_toy_search(tmp_path / "asha", 12, searcher="random")
    plain = run_toy_search(tmp_path / "none", 12, searcher="random", scheduler="none")
    assert _promoted(tmp_path / "asha")
    assert [one.params for one in promoting.trials] == [one.params for one in plain.trials]


@pytest.mark.parametrize(
    "change", [{"number": 4}, {"place": 2}, {"of": 9}, {"why": TO_FINISH, "number": 4}]
)
def test_promotion_that_the_rule_would_not_make_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    path = tmp_path / "ledger"
    run_toy_search(path, 8)
    records = list(read_ledger(path)[0])
    first = next(i for i, record in enumerate(records) if record["event"] == "promoted")
    records[first] |= change
    _rewrite(path, records[: first + 1])
    with Ledger(path) as ledger, pytest.raises(BadInput, match="recorded decision differs"):
        Decisions(toy_plan(), ledger)


def test_best_stopped_trials_go_on_to_their_end_until_enough_have_finished(
    tmp_path: Path,
) -> None:
    plain = run_toy_search(tmp_path / "plain", 9)
    assert sum(trial.status == "finished" for trial in plain.trials) < 4
    decisions = run_toy_search(tmp_path / "ledger", 9, finish=4)
    assert sum(trial.status == "finished" for trial in decisions.trials) == 4
    events = _promoted(tmp_path / "ledger")
    last = [event for event in events if event["why"] == TO_FINISH]
    assert [event["rung"] for event in last] == sorted((e["rung"] for e in last), reverse=True)
    assert all(decisions.trials[event["number"]].status == "finished" for event in last)


def test_only_what_stands_above_the_floor_counts_as_finished(tmp_path: Path) -> None:
    def short(params: dict[str, Any], epoch: int) -> dict[str, float]:
        shortfall = max(0.0, params["x"] - 0.5)
        return toy_metrics(params, epoch) | {"val/floor_shortfall": shortfall}

    plan = {"searcher": "random", "metrics": short, "finish": 3}
    decisions = run_toy_search(tmp_path / "ledger", 12, **plan)
    finished = [one for one in decisions.trials if one.status == "finished"]
    assert sum(not one.epochs[-1]["val/floor_shortfall"] for one in finished) >= 3


def test_all_go_on_where_too_few_stand_above_the_floor(tmp_path: Path) -> None:
    def short(params: dict[str, Any], epoch: int) -> dict[str, float]:
        return toy_metrics(params, epoch) | {"val/floor_shortfall": 0.1}

    decisions = run_toy_search(tmp_path / "ledger", 5, finish=2, metrics=short)
    assert [one.status for one in decisions.trials] == ["finished"] * 5


def test_running_trials_count_before_more_go_on_to_their_end(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        decisions = Decisions(toy_plan(), ledger)
        for value in (0.3, 0.2):
            record = decisions.ask()
            assert record is not None
            decisions.result(record.number, 1, {"val/objective": value})
        place = decisions.promotable(1)
        assert place is not None
        assert decisions.promote(place, TO_FINISH).number == 1
        assert decisions.promotable(1) is None
        assert decisions.promotable(2) is not None


@pytest.mark.parametrize("stopped_as", ["complete", "pruned"])
def test_searcher_hears_of_a_stopped_trial_and_again_of_its_end(
    tmp_path: Path, stopped_as: str
) -> None:
    heard: list[list[TrialState]] = []

    class Listening(optuna.samplers.RandomSampler):
        def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            heard.append([one.state for one in study.get_trials(deepcopy=False)])

    plan = {"searcher": "random", "stopped_as": stopped_as}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("study.tune.sampler.build_sampler", lambda *_: Listening(seed=0))
        run_toy_search(tmp_path / "ledger", 3, **plan)
        run_toy_search(tmp_path / "ledger", 4, finish=0, **plan)
    told = TrialState.COMPLETE if stopped_as == "complete" else TrialState.PRUNED
    assert heard[1] == [told, TrialState.RUNNING]
    assert heard[-1][:3] == [told] * 3
    assert heard[-1][-1] == TrialState.RUNNING
    assert heard[-1].count(told) == 4  # the one that was promoted, twice


def test_optuna_rows_are_one_a_trial_as_it_stands(tmp_path: Path) -> None:
    decisions = run_toy_search(tmp_path / "ledger", 9, finish=3)
    states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    for record, row in zip(decisions.trials, decisions.frozen, strict=True):
        assert row.state == states[record.status]
        assert tuple(row.intermediate_values.values()) == record.objectives
        assert row.values == ([min(record.objectives)] if row.state.name == "COMPLETE" else None)


def test_database_has_the_end_of_a_trial_that_was_promoted_after_its_row_was_written(
    tmp_path: Path,
) -> None:
    before = run_toy_search(tmp_path / "ledger", 2)
    database = StudyDatabase(tmp_path / "study.db", "toy")
    database.update(before.frozen)
    after = run_toy_search(tmp_path / "ledger", 9, finish=4)
    database.update(after.frozen)
    database.close(after.frozen)
    path = f"sqlite:///{tmp_path / 'study.db'}"
    rows = optuna.load_study(study_name="toy", storage=path).trials
    assert len(rows) == 9
    assert [row.state for row in rows] == [one.state for one in after.frozen]
    steps = [len(row.intermediate_values) for row in rows]
    assert steps == [len(trial.epochs) for trial in after.trials]
    assert len(before.trials[0].epochs) < len(after.trials[0].epochs)


def test_study_that_began_with_the_former_rule_goes_on_with_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(path) as ledger:
        ledger.append("started")
    decisions = run_toy_search(path, 6)
    assert len(decisions.trials[0].epochs) == 9  # the best of fewer than eta went on
    assert not _promoted(path)
    again = run_toy_search(path, 12)
    assert not _promoted(path)
    assert again.trials[0].status == "finished"


def test_study_that_says_today_s_rules_promotes(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.append("started", rules=RULES)
    run_toy_search(tmp_path / "ledger", 6)
    assert _promoted(tmp_path / "ledger")
