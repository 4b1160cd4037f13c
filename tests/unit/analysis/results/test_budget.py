from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.choice.alternatives import alternatives_of
from analysis.choice.cells import Picks
from analysis.choice.selection import NoSelection
from analysis.results.budget import COLUMNS, HALVES, Budget, budget_of, expected_best
from tests.fake_run import Fake, make_run


def picks_of(cost: np.ndarray, eligible: np.ndarray) -> Picks:
    none = np.zeros(cost.shape, dtype=np.intp)
    return Picks(none, cost, 1 - cost, eligible, none[0])


def by_hand(cost: np.ndarray, may: np.ndarray, worth: np.ndarray, rest: float, num: int, m: int):
    """Over all subsets of m of ``num`` trials, the last ones of which cannot be chosen."""
    values = []
    for subset in combinations(range(num), m):
        there = [i for i in subset if i < len(cost) and may[i]]
        values.append(worth[min(there, key=lambda i: cost[i])] if there else rest)
    return np.mean(values)


def curve(held: float) -> pd.DataFrame:
    rows = [(m, 0.4, 0.5, 0.4, 0.6, 1.0, held) for m in range(1, 9)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_expected_best_is_the_mean_over_all_subsets_of_the_trials() -> None:
    rng = np.random.default_rng(0)
    cost, worth = rng.uniform(size=(4, 2)), rng.uniform(size=(4, 2))
    may = np.array([[True, True], [False, True], [True, True], [True, False]])
    rest = np.array([0.9, 0.8])
    found = expected_best(picks_of(cost, may), worth, rest, 6)
    for m in range(1, 7):
        for b in range(2):
            wanted = by_hand(cost[:, b], may[:, b], worth[:, b], rest[b], 6, m)
            assert found[m - 1, b] == pytest.approx(wanted)


def test_budget_of_a_search_falls_as_seen_and_has_the_base_where_nothing_is_chosen(
    tmp_path: Path,
) -> None:
    make_run(tmp_path)
    budget = budget_of(analysis.load(tmp_path), num_splits=20)
    table = budget.table
    assert table["trials"].tolist() == list(range(1, 10))
    assert (np.diff(table["seen"]) <= 1e-12).all()
    assert (np.diff(table["selected"]) >= -1e-12).all()
    assert (table["low"] <= table["other"]).all()
    assert (table["other"] <= table["high"]).all()
    gain, low, high = budget.doubled
    assert gain == pytest.approx(table["other"].iloc[4] - table["other"].iloc[-1])
    assert low <= gain <= high
    assert "with all 9" in budget.text


def test_held_is_how_often_the_choice_stands_above_the_floor_on_the_other_half(
    tmp_path: Path,
) -> None:
    make_run(tmp_path)
    study = analysis.load(tmp_path)
    held = budget_of(study, num_splits=20).table["held"]
    stated = alternatives_of(study, num_splits=20).set_index("rule").loc["stated rule"]
    assert held.between(0, 1).all()
    assert held.iloc[-1] >= stated["floor_kept"] - 1e-12  # where nothing is chosen the base holds


def test_budget_says_how_often_its_choices_fall_under_the_floor() -> None:
    zero = (0.0, 0.0, 0.0)
    below = Budget(curve(held=0.61), "val/fpr95", HALVES, zero, zero, 2).text
    assert "(there above the floor in 61.0 % of choices)" in below
    gain = (0.02, 0.01, 0.03)
    assert "Most of these choices" not in below
    mostly = Budget(curve(held=0.3), "val/fpr95", HALVES, gain, zero, 2).text
    assert "Most of these choices fall under the floor" in mostly
    assert "would still pay" not in mostly
    assert "floor" not in Budget(curve(held=1.0), "val/fpr95", HALVES, zero, zero, 2).text


@pytest.mark.parametrize(
    ("doubled", "lost", "told"),
    [
        ((0.02, 0.01, 0.03), (0.0, 0.0, 0.0), "gained 2.0 points [1.0, 3.0]. More trials would"),
        ((0.02, 0.01, 0.03), (0.0, 0.0, 0.0), "would still pay (--extend adds them)."),
        ((0.02, -0.01, 0.05), (0.0, 0.0, 0.0), "cannot tell whether more trials would pay."),
        ((0.002, 0.001, 0.003), (0.0, 0.0, 0.0), "More trials would hardly pay."),
        ((-0.02, -0.03, -0.01), (0.02, 0.01, 0.03), "with 2 trials, 2.0 points [1.0, 3.0] better"),
        ((-0.02, -0.03, -0.01), (0.02, 0.01, 0.03), "More trials would not pay"),
    ],
)
def test_budget_says_whether_more_trials_would_pay(
    doubled: tuple[float, ...], lost: tuple[float, ...], told: str
) -> None:
    table = curve(held=1.0)
    assert told in Budget(table, "val/fpr95", HALVES, doubled, lost, 2).text


def test_budget_of_a_few_trials_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(statuses=("finished",) * 3, num_id=30))
    with pytest.raises(NoSelection, match="at least 4"):
        budget_of(analysis.load(tmp_path))
