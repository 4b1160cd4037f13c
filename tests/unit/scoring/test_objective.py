from __future__ import annotations

import math

import pytest

from study.scoring.objective import cost, objective

METRICS = {"val/id_accuracy": 0.8, "val/fpr95": 0.25, "val/auroc": 0.9}


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [("val/fpr95", 0.25, 0.25), ("val/auroc", 0.9, 0.1), ("val/far/msp/aupr_in", 1.0, 0.0)],
)
def test_cost_is_lower_for_the_better(metric: str, value: float, expected: float) -> None:
    assert cost(metric, value) == pytest.approx(expected)


@pytest.mark.parametrize("floor", [None, 0.79, 0.8])
def test_objective_is_the_cost_where_the_floor_holds(floor: float | None) -> None:
    assert objective(METRICS, "val/fpr95", floor) == 0.25
    assert objective(METRICS, "val/auroc", floor) == pytest.approx(0.1)


def test_objective_under_the_floor_is_one_plus_the_shortfall() -> None:
    assert objective(METRICS, "val/fpr95", 0.85) == pytest.approx(1.05)


def test_objective_under_the_floor_is_worse_than_any_above_it() -> None:
    worst_above = {"val/id_accuracy": 0.85, "val/fpr95": 1.0}
    best_below = {"val/id_accuracy": 0.8499, "val/fpr95": 0.0}
    above, below = (objective(m, "val/fpr95", 0.85) for m in (worst_above, best_below))
    assert above < below
    further = objective(best_below | {"val/id_accuracy": 0.5}, "val/fpr95", 0.85)
    assert below < further


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_objective_of_a_metric_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"val/fpr95 is (nan|inf)"):
        objective(METRICS | {"val/fpr95": value}, "val/fpr95", None)
