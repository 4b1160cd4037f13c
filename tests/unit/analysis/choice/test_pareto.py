from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.choice.pareto import dominators, efficient, front_of, hypervolume, pareto, states_of
from analysis.study import Study
from study.errors import BadInput
from tests.fake_run import Fake, make_run


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("front")
    make_run(folder)
    return analysis.load(folder)


def test_efficient_keeps_what_nothing_dominates_and_equal_points() -> None:
    costs = np.array([[1.0, 3.0], [2.0, 2.0], [2.0, 2.0], [2.0, 3.0], [3.0, 1.0]])
    assert efficient(costs).tolist() == [True, True, True, False, True]


def test_pareto_holds_finished_trials_by_rising_accuracy(study: Study) -> None:
    front = study.pareto()
    finished = set(study.trials.loc[study.trials["status"] == "finished", "trial_id"])
    assert set(front["trial_id"]) <= finished
    assert front["val/id_accuracy"].is_monotonic_increasing
    assert front["val/fpr95"].is_monotonic_increasing


def test_states_are_all_that_the_paths_of_finished_trials_have(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(statuses=("finished", "pruned"), num_id=30, alphas=(0.25, 0.5)))
    found = states_of(analysis.load(tmp_path), ("val/fpr95", "val/id_accuracy"))
    assert set(found["trial_id"]) == {"00000"}
    assert found["alpha"].tolist() == [0.0, 0.25, 0.5, 1.0] * 4


def test_base_where_all_paths_begin_is_on_the_front_once(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(statuses=("finished",) * 3, num_id=30, alphas=(0.25,)))
    states = pd.read_parquet(run.states)
    states.loc[states["val/alpha"] == 0, ["val/id_accuracy", "val/fpr95"]] = 0.99, 0.6
    states.to_parquet(run.states, index=False)
    front = analysis.load(tmp_path).pareto()
    assert front["alpha"].tolist().count(0.0) == 1


def test_hypervolume_of_hand_computed_fronts() -> None:
    two = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [3.0, 3.0]])
    assert hypervolume(two, np.array([4.0, 4.0])) == pytest.approx(6.0)
    three = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    assert hypervolume(three, np.full(3, 2.0)) == pytest.approx(2 + 4 - 1)
    assert hypervolume(two, np.array([1.0, 1.0])) == 0.0


def test_hypervolume_agrees_with_random_points() -> None:
    rng = np.random.default_rng(0)
    points, throws = rng.uniform(size=(6, 3)), rng.uniform(size=(100_000, 3))
    share = (throws[:, None, :] >= points[None]).all(axis=2).any(axis=1).mean()
    assert hypervolume(points, np.ones(3)) == pytest.approx(share, abs=0.006)


def test_front_has_intervals_band_and_volume(study: Study) -> None:
    front = front_of(study, num_resamples=40)
    table = front.table
    assert (table["val/fpr95_low"] <= table["val/fpr95"]).all()
    assert (table["val/fpr95_high"] >= table["val/fpr95"]).all()
    assert table["on_front"].between(0, 1).all()
    told = np.isfinite(front.band_low)
    assert told.any()
    assert (front.band_low[told] <= front.band_high[told]).all()
    assert front.low <= front.hypervolume <= front.high
    assert front.reference == (1.0, 0.0)
    chosen = table.loc[table["chosen"], "trial_id"].tolist()
    assert set(chosen) <= {study.select().trial_id}


def test_trials_at_both_ends_of_the_front_are_on_that_of_resamples(study: Study) -> None:
    table = front_of(study, num_resamples=40).table.sort_values("val/fpr95")
    most_accurate = table["val/id_accuracy"].idxmax()
    assert table.loc[[table.index[0], most_accurate], "on_front"].min() > 0.2


def test_front_of_a_metric_that_is_not_of_the_scores_alone_says_so(study: Study) -> None:
    chosen = {**study.spec["select"], "metric": "val/blobs/energy/fpr95"}
    front = front_of(replace(study, spec={**study.spec, "select": chosen}), num_resamples=5)
    told = "No band: val/blobs/energy/fpr95 does not follow from the per-image scores."
    assert front.note == told


def test_band_of_a_single_trial_is_its_interval(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(statuses=("finished",), num_id=60, below_base=0.5))
    front = front_of(analysis.load(tmp_path), num_resamples=40)
    (row,) = front.table.to_dict("records")
    ends = row["val/fpr95_low"], row["val/fpr95_high"]
    assert (front.band_low[0], front.band_high[0]) == pytest.approx(ends)


def test_front_with_time_has_three_axes(study: Study) -> None:
    front = front_of(study, with_time=True, num_resamples=5)
    assert front.metrics == ("val/fpr95", "val/id_accuracy", "time_s")
    assert "time_s" in front.table


def test_front_without_scores_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(num_id=40))
    run.trial_scores("00000").unlink()
    front = front_of(analysis.load(tmp_path), num_resamples=5)
    assert "missing" in front.note or front.num_resampled
    assert np.isfinite(front.hypervolume)


def test_pareto_of_an_unrecorded_metric_names_it(study: Study) -> None:
    with pytest.raises(BadInput, match="val/nothing/energy/auroc: this metric was not recorded"):
        pareto(study, ("val/nothing/energy/auroc", "val/id_accuracy"))


def test_trial_on_the_front_has_no_dominator_and_others_have(study: Study) -> None:
    front = set(study.pareto()["trial_id"])
    finished = study.trials.loc[study.trials["status"] == "finished", "trial_id"]
    assert all(not dominators(study, one) for one in front)
    eligible = study.trials.set_index("trial_id")["val/id_accuracy"] >= study.floor.value
    beaten = [one for one in finished if one not in front and eligible[one]]
    assert all(dominators(study, one) for one in beaten)


def test_pareto_of_a_study_where_nothing_finished_is_empty(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(statuses=("failed", "pruned"), num_id=30))
    study = analysis.load(tmp_path)
    assert study.pareto().empty
    front = front_of(study, with_time=True)
    assert front.note == "No trial finished, so there is no front."
    assert front.reference == (1.0, 0.0, 1.0)
