from __future__ import annotations

import json
from pathlib import Path

import pytest
from optuna.trial import TrialState

from study.errors import BadInput
from study.records.ledger import Ledger, encode, read_ledger
from study.tune.decisions import CONTINUE, Decisions
from tests.toys import run_toy_search, toy_metrics, toy_plan


def _without_times(path: Path) -> list[dict[str, object]]:
    return [{k: v for k, v in r.items() if k != "time"} for r in read_ledger(path)[0]]


@pytest.mark.parametrize("searcher", ["tpe", "random"])
@pytest.mark.parametrize("stop_after", [1, 2, 3, 11, 17])
def test_search_cut_off_and_resumed_writes_the_same_ledger(
    tmp_path: Path, searcher: str, stop_after: int
) -> None:
    run_toy_search(tmp_path / "whole", 14, searcher=searcher)
    run_toy_search(tmp_path / "cut", 14, searcher=searcher, stop_after=stop_after)
    assert _without_times(tmp_path / "cut") != _without_times(tmp_path / "whole")
    run_toy_search(tmp_path / "cut", 14, searcher=searcher)
    assert _without_times(tmp_path / "cut") == _without_times(tmp_path / "whole")


def test_extending_gives_what_one_go_gives(tmp_path: Path) -> None:
    run_toy_search(tmp_path / "whole", 14)
    run_toy_search(tmp_path / "extended", 9)
    run_toy_search(tmp_path / "extended", 14)
    assert _without_times(tmp_path / "extended") == _without_times(tmp_path / "whole")


def test_asha_prunes_trials_that_are_not_among_the_best_third_of_a_rung(tmp_path: Path) -> None:
    decisions = run_toy_search(tmp_path / "ledger", 20)
    first_rung = sorted(trial.objectives[0] for trial in decisions.trials)
    assert {trial.status for trial in decisions.trials} == {"finished", "pruned"}
    for trial in decisions.trials:
        if len(trial.epochs) == 1:
            assert trial.status == "pruned"
            assert trial.objectives[0] > first_rung[0]


def test_states_in_optuna_agree_with_the_ledger(tmp_path: Path) -> None:
    decisions = run_toy_search(tmp_path / "ledger", 12)
    states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    for record, frozen in zip(decisions.trials, decisions.frozen, strict=True):
        assert frozen.state == states[record.status]
        assert frozen.params == record.params
        assert tuple(frozen.intermediate_values.values()) == record.objectives


def test_without_a_scheduler_every_trial_trains_all_epochs(tmp_path: Path) -> None:
    decisions = run_toy_search(tmp_path / "ledger", 4, scheduler="none")
    assert [len(trial.epochs) for trial in decisions.trials] == [9] * 4


def test_grid_takes_its_points_in_order_and_ends_with_them(tmp_path: Path) -> None:
    points = [{"x": x, "kind": kind} for x in (0.1, 0.5) for kind in ("a", 3)]
    decisions = run_toy_search(tmp_path / "ledger", 99, searcher="grid", grid=points)
    assert [trial.params for trial in decisions.trials] == points


def test_first_parameters_depend_on_the_seed_and_the_number_alone(tmp_path: Path) -> None:
    one, same, other = (
        run_toy_search(tmp_path / name, 6, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert [t.params for t in one.trials] == [t.params for t in same.trials]
    assert one.trials[0].params != other.trials[0].params
    assert len({trial.params["x"] for trial in one.trials}) == 6


def test_recorded_epoch_keeps_its_decision(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        decisions = Decisions(toy_plan(grace_epochs=2), ledger)
        record = decisions.ask()
        assert record is not None
        metrics = toy_metrics(record.params, 1)
        assert decisions.result(0, 1, metrics) == CONTINUE
        lines = len(ledger.records)
        assert decisions.result(0, 1, metrics) == CONTINUE
        assert len(ledger.records) == lines


def test_epoch_out_of_order_is_refused(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        decisions = Decisions(toy_plan(), ledger)
        record = decisions.ask()
        assert record is not None
        with pytest.raises(ValueError, match="epoch 3 after 0"):
            decisions.result(0, 3, toy_metrics(record.params, 3))


def test_failed_trial_is_told_to_the_searcher_and_survives_a_resume(tmp_path: Path) -> None:
    for _ in range(2):
        with Ledger(tmp_path / "ledger") as ledger:
            decisions = Decisions(toy_plan(), ledger)
            if not decisions.trials:
                decisions.ask()
                decisions.failed(0, reason="loss is nan", cause="diverged")
            assert decisions.trials[0].status == "failed"
            assert decisions.trials[0].reason == "loss is nan"
            assert decisions.frozen[0].state == TrialState.FAIL


def test_decision_that_the_spec_would_not_take_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    run_toy_search(path, 3)
    records = list(read_ledger(path)[0])
    changed = next(r for r in records if r.get("decision") == "pruned")
    changed["decision"] = "continue"
    bodies = [{k: v for k, v in r.items() if k != "crc32"} for r in records]
    path.write_bytes(b"".join(encode(body) for body in bodies))
    with Ledger(path) as ledger, pytest.raises(BadInput, match="recorded decision differs"):
        Decisions(toy_plan(), ledger)


def test_ledger_lines_are_json(tmp_path: Path) -> None:
    run_toy_search(tmp_path / "ledger", 2)
    events = [json.loads(line) for line in (tmp_path / "ledger").read_text().splitlines()]
    assert {event["event"] for event in events} == {"ask", "result"}
