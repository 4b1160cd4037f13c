from __future__ import annotations

import math

import pytest

from study.scoring.objective import WORST, cost, objective, rejudged, standing

METRICS = {"val/id_accuracy": 0.8, "val/fpr95": 0.25, "val/auroc": 0.9}


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [("val/fpr95", 0.25, 0.25), ("val/auroc", 0.9, 0.1), ("val/far/msp/aupr_in", 1.0, 0.0)],
)
def test_cost_is_lower_for_the_better(metric: str, value: float, expected: float) -> None:
    assert cost(metric, value) == pytest.approx(expected)


@pytest.mark.parametrize("told", [{}, {"val/floor_shortfall": 0.0}])
@pytest.mark.parametrize("penalty", [None, 0.0, 0.2])
def test_objective_is_the_cost_where_the_floor_holds(
    told: dict[str, float], penalty: float | None
) -> None:
    assert objective(METRICS | told, "val/fpr95", penalty) == 0.25
    assert objective(METRICS | told, "val/auroc", penalty) == pytest.approx(0.1)


def test_objective_under_the_floor_costs_the_penalty_a_point() -> None:
    short = METRICS | {"val/floor_shortfall": 0.03}
    assert objective(short, "val/fpr95", 0.2) == pytest.approx(0.25 + 0.6)
    assert objective(short, "val/fpr95", 0.0) == 0.25


def test_objective_without_a_penalty_is_one_plus_the_shortfall() -> None:
    worst_above = {"val/fpr95": 1.0, "val/floor_shortfall": 0.0}
    below = [{"val/fpr95": 0.0, "val/floor_shortfall": short} for short in (0.0001, 0.35)]
    told = [objective(one, "val/fpr95", None) for one in (worst_above, *below)]
    assert told == pytest.approx([1.0, 1.0001, 1.35])


def test_standing_puts_every_state_above_the_floor_first() -> None:
    above = {"val/objective": 0.9, "val/floor_shortfall": 0.0}
    under = {"val/objective": 0.1, "val/floor_shortfall": 0.001}
    older = {"val/objective": 0.5}
    assert sorted([under, above, older], key=standing) == [older, above, under]
    assert standing(above) < WORST


def test_rejudged_metrics_are_those_under_the_other_floor() -> None:
    told = METRICS | {"val/floor_shortfall": 0.0, "val/objective": 0.25}
    assert rejudged(told, "val/fpr95", None, 0.2)["val/objective"] == 0.25
    now = rejudged(told, "val/fpr95", 0.85, 0.2)
    assert now["val/floor_shortfall"] == pytest.approx(0.05)
    assert now["val/objective"] == pytest.approx(0.25 + 1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_objective_of_a_metric_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"val/fpr95 is (nan|inf)"):
        objective(METRICS | {"val/fpr95": value}, "val/fpr95")
