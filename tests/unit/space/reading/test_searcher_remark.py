"""What is told of a searcher that cannot do its work with the trials or the scheduler at hand."""

from __future__ import annotations

import pytest

from study.space.reading.sections import TuneSection


@pytest.mark.parametrize(
    ("tune", "told"),
    [
        ({"searcher": "gp", "num_trials": 8}, "until 8 trials have finished, and there are 8"),
        (
            {"searcher": "tpe", "num_trials": 3},
            "until 8 trials have ended, and there are 3",
        ),
        ({"searcher": "nsga2", "num_trials": 16}, "until 16 trials have finished, and"),
        (
            {"searcher": "gp", "num_trials": 99, "scheduler": "hyperband"},
            "until 8 trials have finished all their epochs, and scheduler: hyperband lets few",
        ),
        ({"searcher": "nsga2", "scheduler": "median", "population": 4}, "until 4 trials have"),
    ],
)
def test_searcher_that_cannot_search_is_told(tune: dict[str, object], told: str) -> None:
    assert told in TuneSection(**tune).searcher_remark()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "tune",
    [
        {"searcher": "gp", "num_trials": 9},  # what a rung stops is told as finished
        {"searcher": "gp", "num_trials": 9, "scheduler": "none"},
        {"searcher": "tpe", "num_trials": 9, "scheduler": "hyperband"},
        {"searcher": "random", "num_trials": 1},
        {"searcher": "grid", "num_trials": 1},
        {"searcher": "cmaes", "num_trials": 1},
    ],
)
def test_nothing_is_told_of_a_searcher_that_can(tune: dict[str, object]) -> None:
    assert TuneSection(**tune).searcher_remark() == ""  # type: ignore[arg-type]
