"""Re-tuning the arms of an ablation: order, choice, ledger, the same after any interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from study.errors import BadInput
from study.records.files import TUNED, TUNING
from study.records.ledger import Ledger, Record
from study.space.ablation.section import RETUNE
from study.space.points import substitute
from study.space.study_spec import StudySpec
from study.tune.checkpoint_budget import losers
from study.tune.decisions import Decisions
from study.tune.record import TrialRecord
from study.tune.tables import trials_table
from tests.toy_ablation import (
    Value,
    ablation_plan,
    ablation_space,
    asks_of,
    ledger_lines,
    run_ablation,
    run_epoch,
)

SPACE = """
  seeds: [3, 1]
  factors: {momentum: [0.5], augment: [none]}
  retune: {num_trials: 3, seed: 1000, search: {lr: {loguniform: [1.0e-3, 1.0e-1]}}}
"""
ARMS = ["baseline", "momentum=0.5", "augment=none"]
BEST = {"baseline": 1, "momentum=0.5": 2, "augment=none": 0}


def space(folder: Path, *overrides: str) -> StudySpec:
    return ablation_space(SPACE, folder, *overrides)


def accuracy(record: TrialRecord) -> float | None:
    """Every arm has another best point."""
    return 0.5 if record.tunes and record.params[RETUNE] == BEST[record.arm] else 0.4


def run(
    folder: Path, spec: StudySpec, value: Value = accuracy, **how: int
) -> tuple[Decisions, list[Record]]:
    return run_ablation(folder, spec, value, **how)


def measured(decisions: Decisions) -> list[tuple[str, int, Any]]:
    trials = [one for one in decisions.trials if not one.tunes]
    return [(one.arm, one.seed, one.params[RETUNE]) for one in trials]


def test_tuning_trials_come_first_all_arms_at_one_point_and_one_seed(tmp_path: Path) -> None:
    decisions, _ = run(tmp_path, space(tmp_path))
    first = [(one.arm, one.seed, one.params[RETUNE]) for one in decisions.trials[:9]]
    assert first == [(arm, 1000, point) for point in range(3) for arm in ARMS]
    assert [one.tunes for one in decisions.trials] == [True] * 9 + [False] * 6


def test_every_arm_is_measured_at_its_own_best_point(tmp_path: Path) -> None:
    spec = space(tmp_path)
    decisions, told = run(tmp_path, spec)
    assert measured(decisions) == [(arm, seed, BEST[arm]) for seed in (3, 1) for arm in ARMS]
    assert spec.ablate is not None
    assert spec.ablate.retune is not None
    last = decisions.trials[-1]
    train, _ = substitute(spec, last.params)
    assert train["lr"] == spec.ablate.retune.points[BEST[last.arm]]["lr"]
    assert train["augment"] == "none"
    assert told[0]["settings"] == spec.ablate.retune.points[1]


def test_equal_values_go_to_the_lower_number_and_failed_trials_lose(tmp_path: Path) -> None:
    def value(record: TrialRecord) -> float | None:
        return None if record.tunes and record.params[RETUNE] == 0 else 0.5

    decisions, _ = run(tmp_path, space(tmp_path), value)
    assert {point for _, _, point in measured(decisions)} == {1}


def test_arm_whose_tuning_failed_is_measured_at_its_defaults_and_that_is_told(
    tmp_path: Path,
) -> None:
    def value(record: TrialRecord) -> float | None:
        return None if record.tunes and record.arm == "momentum=0.5" else accuracy(record)

    spec = space(tmp_path)
    decisions, told = run(tmp_path, spec, value)
    assert ("momentum=0.5", 3, "default") in measured(decisions)
    assert [one["arm"] for one in told if one["trial"] is None] == ["momentum=0.5"]
    point = next(one.params for one in decisions.trials if one.params[RETUNE] == "default")
    assert substitute(spec, point)[0]["lr"] == spec.train["lr"]


def test_points_and_choices_are_on_the_ledger_before_who_goes_by_them(tmp_path: Path) -> None:
    run(tmp_path, space(tmp_path))
    events = ledger_lines(tmp_path)
    kinds = [one["event"] for one in events]
    assert kinds[0] == TUNING
    for arm in ARMS:
        mine = [i for i, one in enumerate(events) if one.get("params", {}).get("arm") == arm]
        tuned = next(i for i, one in enumerate(events) if one.get("arm") == arm)
        ended = [i for i, one in enumerate(events) if one.get("number") in _tuning(events, arm)]
        assert events[tuned]["event"] == TUNED
        assert max(ended) < tuned < min(i for i in mine if not events[i].get("tunes"))


def _tuning(events: list[dict[str, Any]], arm: str) -> set[int]:
    asks = [one for one in events if one.get("tunes")]
    return {one["number"] for one in asks if one["params"]["arm"] == arm}


def test_measuring_waits_for_the_tuning_of_its_own_arm_alone(tmp_path: Path) -> None:
    spec = space(tmp_path)
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        decisions = Decisions(ablation_plan(spec), ledger)
        ask = asks_of(decisions, spec, [])
        for _ in range(9):
            assert ask() is not None
        assert ask() is None
        for number in (0, 3, 6, 6, 3, 0):
            run_epoch(decisions, decisions.trials[number], accuracy)
        record = ask()
        assert record is not None
        assert (record.arm, record.params[RETUNE]) == ("baseline", 1)
        assert ask() is None


def test_ledger_cut_after_any_line_leads_to_the_same_trials(tmp_path: Path) -> None:
    spec = space(tmp_path)
    whole, _ = run(tmp_path, spec)
    text = (tmp_path / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    for length in range(0, len(text), 3):
        (cut := tmp_path / str(length)).mkdir()
        (cut / "ledger.jsonl").write_bytes(b"".join(text[:length]))
        decisions, _ = run(cut, spec)
        assert measured(decisions) == measured(whole)


def test_resume_with_other_points_than_recorded_is_refused(tmp_path: Path) -> None:
    run(tmp_path, space(tmp_path), stop_after=3)
    other = space(tmp_path, "ablate.retune.search.lr={loguniform: [1.0e-3, 2.0e-1]}")
    with pytest.raises(BadInput, match="points of re-tuning differ"):
        run(tmp_path, other)


def test_table_tells_tuning_trials_apart_and_their_weights_go_first(tmp_path: Path) -> None:
    decisions, _ = run(tmp_path, space(tmp_path))
    table = trials_table(decisions.trials, lambda record: {}, "best", live=False)
    assert table["tunes"].tolist() == [True] * 9 + [False] * 6
    assert {one.number for one in losers(decisions.trials, "best")[:9]} == set(range(9))
