"""study.scoring.floor: how surely an accuracy lies above the floor."""

import numpy as np
import pytest

from study.scoring.floor import Floor, asked_of_each, standard_error

GROUPS = np.array([f"source{index}" for index in range(1000)], "S")


def right(share: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=1000) < share


def test_accuracy_at_the_floor_holds_it_with_even_odds_and_passes() -> None:
    model = np.arange(1000) < 900
    judged = Floor(0.9).judge(model, GROUPS)
    assert (judged.holds, judged.shortfall, judged.passes) == (0.5, 0.0, True)


def test_accuracy_under_the_floor_is_told_by_how_much() -> None:
    judged = Floor(0.95).judge(np.arange(1000) < 900, GROUPS)
    assert judged.shortfall == pytest.approx(0.05)
    assert not judged.passes
    assert judged.holds < 1e-6


def test_confidence_asks_for_its_lower_bound() -> None:
    model = np.arange(1000) < 900
    error = standard_error(model.astype(float), GROUPS)
    judged = Floor(0.9, confidence=0.9).judge(model, GROUPS)
    assert judged.shortfall == pytest.approx(1.2816 * error, rel=1e-3)
    for floor in (0.87, 0.88, 0.885, 0.89, 0.9):
        judged = Floor(floor, confidence=0.9).judge(model, GROUPS)
        assert judged.passes == (judged.holds >= 0.9)


def test_probability_is_the_share_of_resamples_that_hold() -> None:
    base = right(0.9)
    model = np.where(right(0.9, 1), base, ~base)
    below = float(base.mean() - model.mean()) + 0.005
    floor = Floor(float(base.mean()) - below, base_right=base)
    rows = np.random.default_rng(2).integers(0, 1000, (20_000, 1000))
    gain = model.astype(float) - base
    drawn = gain[rows].mean(axis=1) >= -below
    assert floor.judge(model, GROUPS).holds == pytest.approx(drawn.mean(), abs=0.02)


def test_paired_floor_is_surer_than_an_absolute_one_of_the_same_height() -> None:
    base = right(0.9)
    model = base.copy()
    model[np.flatnonzero(base)[:3]] = False
    height = float(base.mean()) - 0.01
    paired = Floor(height, base_right=base).judge(model, GROUPS)
    absolute = Floor(height).judge(model, GROUPS)
    assert paired.shortfall == absolute.shortfall == 0.0
    assert paired.holds > 0.99
    assert absolute.holds < 0.9


def test_base_itself_holds_a_floor_below_it_for_sure() -> None:
    base = right(0.8)
    for below in (0.0, 0.01):
        floor = Floor(float(base.mean()) - below, confidence=0.99, base_right=base)
        judged = floor.judge(base, GROUPS)
        assert (judged.holds, judged.passes) == (1.0, True)


def test_crops_of_one_source_count_as_one_draw() -> None:
    values = np.repeat(right(0.8)[:100].astype(float), 10)
    each = standard_error(values, GROUPS)
    together = standard_error(values, np.repeat(GROUPS[:100], 10))
    assert together == pytest.approx(each * np.sqrt(10), rel=0.01)


def test_standard_error_is_that_of_the_mean_where_each_is_its_own_source() -> None:
    values = right(0.8).astype(float)
    assert standard_error(values, GROUPS) == pytest.approx(values.std(ddof=1) / np.sqrt(1000))


def test_one_source_has_no_spread_to_judge_by() -> None:
    assert standard_error(right(0.8).astype(float), np.repeat(GROUPS[:1], 1000)) == 0.0


@pytest.mark.parametrize(("num", "asked"), [(1, 0.8), (12, 0.8), (48, 0.9), (1200, 0.98)])
def test_asked_of_each_rises_with_the_candidates_from_twelve_on(num: int, asked: float) -> None:
    assert asked_of_each(0.8, num) == pytest.approx(asked)


def test_asked_of_each_never_reaches_certainty() -> None:
    assert asked_of_each(0.999, 10**9) < 1
