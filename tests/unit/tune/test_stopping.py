"""Looks between the seeds of an ablation: on the ledger, the same after any interruption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest
from scipy import stats

from study.records.files import LOOK
from study.records.ledger import Ledger, Record
from study.space.ablation.section import SEED
from study.space.ablation.stop import StopRule
from study.space.study_spec import StudySpec
from study.training.assignment import Assignment
from study.tune.decisions import Decisions
from study.tune.record import TrialRecord
from study.tune.session import Limits, Session
from study.tune.stopping import judged
from study.tune.study_db import StudyDatabase
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
  seeds: [3, 1, 4, 5, 9, 2]
  factors: {lr: [0.01, 0.02], momentum: [0.5]}
  stop: {alpha: 0.05, min_seeds: 3, margin: 0.01}
"""
ARMS = ["baseline", "lr=0.01", "lr=0.02", "momentum=0.5"]


def space(folder: Path, *overrides: str) -> StudySpec:
    return ablation_space(SPACE, folder, *overrides)


def accuracy(record: TrialRecord) -> float | None:
    """lr=0.02 is clearly worse than the rest, which differ by chance; None is a failure."""
    noise = float(np.random.default_rng([record.seed, len(record.arm)]).normal(0, 0.005))
    return 0.9 + noise - 0.2 * (record.arm == "lr=0.02")


def run(
    folder: Path, spec: StudySpec, value: Value = accuracy, **how: int
) -> tuple[Decisions, list[TrialRecord]]:
    return run_ablation(folder, spec, value, **how)


def looks(folder: Path) -> list[Record]:
    return [one for one in ledger_lines(folder) if one["event"] == LOOK]


def test_clearly_worse_arm_is_not_trained_further_and_others_are(tmp_path: Path) -> None:
    decisions, told = run(tmp_path, space(tmp_path))
    stopped = [(one.arm, one.seed) for one in decisions.trials if one.status == "stopped"]
    assert stopped == [("lr=0.02", seed) for seed in (5, 9, 2)]
    assert [(one.arm, one.seed) for one in told] == stopped
    assert sum(one.status == "finished" for one in decisions.trials) == 4 * 6 - 3
    assert {len(one.epochs) for one in told} == {0}
    assert told[0].reason == "its arm was stopped after 3 seeds as clearly worse"


def test_look_is_on_the_ledger_before_the_trials_that_it_decides_over(tmp_path: Path) -> None:
    run(tmp_path, space(tmp_path))
    events = ledger_lines(tmp_path)
    (first, *_), asks = looks(tmp_path), [one for one in events if one["event"] == "ask"]
    before = [one for one in events[: events.index(first)] if one["event"] == "ask"]
    assert (first["seeds"], len(before)) == (3, 3 * len(ARMS))
    assert first["level"] == pytest.approx(0.05 / 3)
    assert [one["arm"] for one in first["arms"]] == ARMS[1:]
    assert [one["arm"] for one in first["arms"] if one["stopped"]] == ["lr=0.02"]
    assert [look["seeds"] for look in looks(tmp_path)] == [3, 4, 5]
    assert [one["arm"] for one in looks(tmp_path)[1]["arms"]] == ["lr=0.01", "momentum=0.5"]
    assert [one["params"][SEED] for one in asks if one.get("stopped")] == [5, 9, 2]


def test_look_on_the_ledger_stands_whatever_the_rule_would_say_now(tmp_path: Path) -> None:
    spec = space(tmp_path)
    run(tmp_path, spec, stop_after=25)
    assert len(looks(tmp_path)) == 1
    other = space(tmp_path, "ablate.stop={alpha: 1.0e-9, min_seeds: 3}")
    decisions, _ = run(tmp_path, other)
    assert [one.arm for one in decisions.trials if one.status == "stopped"] == ["lr=0.02"] * 3


def test_failed_trials_make_no_pair_and_no_stop(tmp_path: Path) -> None:
    def value(record: TrialRecord) -> float | None:
        return None if record.arm == "lr=0.02" and record.seed in (3, 1) else accuracy(record)

    decisions, _ = run(tmp_path, space(tmp_path), value)
    found = [one for look in looks(tmp_path) for one in look["arms"] if one["arm"] == "lr=0.02"]
    assert [(one["n"], one["stopped"]) for one in found] == [(1, False), (2, False), (3, True)]
    counts = [one.status for one in decisions.trials if one.arm == "lr=0.02"]
    assert counts == ["failed", "failed", "finished", "finished", "finished", "stopped"]


def test_stopped_trials_are_told_in_table_and_database(tmp_path: Path) -> None:
    decisions, _ = run(tmp_path, space(tmp_path))
    table = trials_table(decisions.trials, lambda record: {}, "best", live=False)
    rows = table[table["status"] == "stopped"]
    assert rows["arm"].tolist() == ["lr=0.02"] * 3
    assert rows["epochs"].tolist() == [0, 0, 0]
    database = StudyDatabase(tmp_path / "study.db", "toy")
    database.close(decisions.frozen)
    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{tmp_path}/study.db")
    states = [trial.state.name for trial in study.trials]
    assert (states.count("PRUNED"), states.count("COMPLETE")) == (3, 21)


def test_judgement_is_the_one_sided_t_test_against_the_margin() -> None:
    found = np.array([0.03, 0.05, 0.04, 0.06])
    rule = StopRule(margin=0.02)
    p = stats.ttest_1samp(found, rule.margin, alternative="greater").pvalue
    assert judged(found.tolist(), rule, p * 1.01)["stopped"]
    assert not judged(found.tolist(), rule, p * 0.99)["stopped"]
    assert not judged((-found).tolist(), rule, 0.4)["stopped"]  # better is never stopped


@pytest.mark.parametrize("found", [[], [0.5], [0.5, 0.6], [0.5, 0.5, 0.5]])
def test_judgement_without_pairs_or_spread_stops_nothing(found: list[float]) -> None:
    told = judged(found, StopRule(), 0.4)
    assert (told["n"], told["stopped"]) == (len(found), False)


def test_rule_says_what_it_takes() -> None:
    """2 df: at level .05 / 1 a mean of 1.69 sd; an effect that is usual in ablations is less."""
    rule = StopRule(min_seeds=3)
    assert rule.needed(3, 4) == pytest.approx(2.91999 / np.sqrt(3), rel=1e-4)
    told = rule.text(4, "val/fpr95")
    assert "one look, after 3 of 4 seeds" in told
    assert "1.69 sd" in told
    assert "looks, after 3 to 9 of 10 seeds" in rule.text(10, "val/fpr95")


def false_stops(
    rule: StopRule, num_seeds: int, num: int, shift: float, sd: float, heavy: bool, seed: int
) -> float:
    """Share of arms, worse by ``shift`` on average, that any look stops."""
    rng = np.random.default_rng(seed)
    draws = rng.standard_t(5, (num, num_seeds)) if heavy else rng.normal(size=(num, num_seeds))
    found = shift + sd * draws
    level = rule.level(num_seeds)
    stopped = [
        any(
            judged(one[:n].tolist(), rule, level)["stopped"]
            for n in range(rule.min_seeds, num_seeds)
        )
        for one in found
    ]
    return float(np.mean(stopped))


@pytest.mark.slow
@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize(
    ("num_seeds", "shift", "margin"), [(5, 0, 0), (10, 0, 0), (10, 0.02, 0.02)]
)
def test_equal_arm_is_stopped_in_alpha_of_ablations_at_most(
    num_seeds: int, shift: float, margin: float, heavy: bool
) -> None:
    rule = StopRule(alpha=0.05, margin=margin)
    share = false_stops(rule, num_seeds, 4000, shift, 0.01, heavy, seed=num_seeds)
    assert share <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 4000)


def test_equal_arm_is_rarely_stopped_and_a_bad_one_nearly_always() -> None:
    rule = StopRule()
    assert false_stops(rule, 6, 300, 0.0, 0.01, heavy=False, seed=0) <= 0.05 + 2 * 0.0126
    assert false_stops(rule, 6, 100, 0.1, 0.01, heavy=False, seed=1) > 0.95


def test_session_ends_where_the_trials_left_are_all_of_stopped_arms(tmp_path: Path) -> None:
    spec = space(tmp_path, "ablate.factors={lr: [0.02]}")
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        decisions = Decisions(ablation_plan(spec), ledger)
        ask = asks_of(decisions, spec, [])
        session = Session(decisions, _assign, Limits(12, None, 9), [], ask=ask)
        session.max_concurrent = 2
        live: list[int] = []
        for _ in range(100):
            while (assignment := session.next_assignment()) is not None:
                live.append(assignment.number)
            if not live:
                break
            number = live.pop()
            while decisions.trials[number].status == "running":
                run_epoch(decisions, decisions.trials[number], accuracy)
            session.left(number)
        assert session.exhausted
    told = [(record.arm, record.status) for record in decisions.trials[6:]]
    assert told == [("baseline", "finished"), ("lr=0.02", "stopped")] * 3


def _assign(record: TrialRecord) -> Assignment:
    return Assignment(record.number, record.seed, {}, record.params)
