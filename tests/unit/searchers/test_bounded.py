"""study.searchers.bounded: which trials of a study a searcher sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from study.records.ledger import read_ledger
from study.searchers.bounded import bounded
from tests.toys import run_toy_search

LOOK: dict[str, Any] = {"scheduler": "none", "num_epochs": lambda point: 1}
SPACE = {"x": FloatDistribution(0, 1)}
BOUND = 12
EACH = [("tpe", 24), ("gp", 15)]


def _params(path: Path, num_trials: int, **changes: Any) -> list[dict[str, Any]]:
    return [one.params for one in run_toy_search(path, num_trials, **LOOK, **changes).trials]


def _study(values: list[float]) -> optuna.Study:
    study = optuna.create_study()
    for value in values:
        trial = optuna.trial.create_trial(params={"x": 0.5}, distributions=SPACE, value=value)
        study.add_trial(trial)
    return study


def test_study_within_the_bound_is_the_study_itself() -> None:
    study = _study([0.3, 0.2, 0.1])
    assert bounded(study, 3, running=False) is study
    assert bounded(study, None, running=True) is study


def test_study_above_the_bound_keeps_its_best_and_its_last() -> None:
    part = bounded(_study([0.0, *(1.0 + one for one in range(30))]), 10, running=False)
    seen = part.get_trials(states=(TrialState.COMPLETE,))
    assert [one.number for one in seen] == [0, *range(22, 31)]


def test_trials_that_run_are_seen_beside_the_bound() -> None:
    study = _study([1.0 + one for one in range(30)])
    running = study.ask(SPACE)
    part = bounded(study, 10, running=True)
    seen = part.get_trials(states=(TrialState.COMPLETE, TrialState.RUNNING))
    assert [one.number for one in seen][-1] == running.number
    assert len(seen) == 11


@pytest.mark.parametrize(("searcher", "num_trials"), EACH)
def test_asks_up_to_the_bound_are_those_of_a_fit_to_all(
    tmp_path: Path, searcher: str, num_trials: int
) -> None:
    part = _params(tmp_path / "part", num_trials, searcher=searcher, fitted_to=BOUND)
    whole = _params(tmp_path / "whole", num_trials, searcher=searcher, fitted_to=None)
    assert part[: BOUND + 1] == whole[: BOUND + 1]
    assert part != whole


@pytest.mark.parametrize(
    ("searcher", "num_trials"), [EACH[0], pytest.param(*EACH[1], marks=pytest.mark.slow)]
)
def test_bounded_search_cut_off_and_resumed_writes_the_same_ledger(
    tmp_path: Path, searcher: str, num_trials: int
) -> None:
    changes = {"searcher": searcher, "fitted_to": BOUND}
    _params(tmp_path / "whole", num_trials, **changes)
    _params(tmp_path / "cut", BOUND + 2, **changes)
    _params(tmp_path / "cut", num_trials, **changes)
    cut, whole = (read_ledger(tmp_path / name)[0] for name in ("cut", "whole"))
    assert [one | {"time": ""} for one in cut] == [one | {"time": ""} for one in whole]
