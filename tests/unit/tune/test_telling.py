"""study.tune.telling: why a trial is no candidate, and why it was stopped."""

from __future__ import annotations

import pytest

from study.scoring.floor import Floor
from study.searchers.rungs import Place
from study.tune.telling import standing_text, stopped_text


def state(accuracy: float, short: float = 0.0, holds: float = 1.0) -> dict[str, float]:
    return {
        "val/fpr95": 0.609, "val/id_accuracy": accuracy, "val/floor_shortfall": short,
        "val/floor_holds": holds,
    }  # fmt: skip


@pytest.mark.parametrize("floor", [None, Floor(0.9)])
def test_standing_above_the_floor_is_the_numbers(floor: Floor | None) -> None:
    told = standing_text(state(0.972), "val/fpr95", floor)
    assert told == "FPR95 60.9 %, ID accuracy 97.2 %"


def test_standing_under_the_floor_names_both_accuracies() -> None:
    told = standing_text(state(0.86, 0.102), "val/fpr95", Floor(0.962))
    assert told == "ID accuracy 86.0 % under the floor of 96.2 %"


def test_standing_above_a_floor_that_does_not_hold_surely_says_how_surely() -> None:
    told = standing_text(state(0.965, 0.004, 0.71), "val/fpr95", Floor(0.962, 0.9))
    assert (
        told == "ID accuracy 96.5 % holds the floor of 96.2 % with a probability of 71%, not 90%"
    )


@pytest.mark.parametrize(
    ("scheduler", "place", "text"),
    [
        ("asha", Place(4, 2, 0, 5, 6), "place 5 of 6 so far at epoch 2, 1 in 3 goes on"),
        ("asha", Place(0, 2, 0, 1, 2), "place 1 of 2 so far at epoch 2, 1 in 3 goes on"),
        ("median", None, "worse than the median of the others at epoch 2"),
        ("hyperband", None, "not among the best 1 in 3 at epoch 2"),
    ],
)
def test_stopped_says_by_what_comparison(scheduler: str, place: Place | None, text: str) -> None:
    assert stopped_text(scheduler, 2, place, 3) == text
