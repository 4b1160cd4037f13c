from __future__ import annotations

from pathlib import Path

import numpy as np

import analysis
from analysis.pareto import efficient
from tests.fake_run import make_run


def test_efficient_keeps_what_nothing_dominates_and_equal_points() -> None:
    costs = np.array([[1.0, 3.0], [2.0, 2.0], [2.0, 2.0], [2.0, 3.0], [3.0, 1.0]])
    assert efficient(costs).tolist() == [True, True, True, False, True]


def test_pareto_holds_finished_trials_by_rising_accuracy(tmp_path: Path) -> None:
    make_run(tmp_path)
    study = analysis.load(tmp_path)
    front = study.pareto()
    finished = set(study.trials.loc[study.trials["status"] == "finished", "trial_id"])
    assert set(front["trial_id"]) <= finished
    assert front["val/id_accuracy"].is_monotonic_increasing
    assert front["val/fpr95"].is_monotonic_increasing
