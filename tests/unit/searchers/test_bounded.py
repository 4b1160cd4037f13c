"""study.searchers.bounded: which trials of a study a searcher sees."""

from __future__ import annotations

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from study.searchers.bounded import bounded

SPACE = {"x": FloatDistribution(0, 1)}


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
    seen = part._get_trials(states=(TrialState.COMPLETE,))
    assert [one.number for one in seen] == [0, *range(22, 31)]


def test_trials_that_run_are_seen_beside_the_bound() -> None:
    study = _study([1.0 + one for one in range(30)])
    running = study.ask(SPACE)
    part = bounded(study, 10, running=True)
    seen = part._get_trials(states=(TrialState.COMPLETE, TrialState.RUNNING))
    assert [one.number for one in seen][-1] == running.number
    assert len(seen) == 11
