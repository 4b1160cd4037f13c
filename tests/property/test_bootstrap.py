from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics.bootstrap import (
    OOD_METRICS,
    Resampler,
    metrics_of_models,
    resampled_accuracy,
)
from study.records.files import VAL_ID
from study.scoring.intervals import percentile_interval
from study.scoring.measuring import ood_metrics

seeds = st.integers(0, 2**31)


def _sets(seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Small sets with ties: scores and groups."""
    rng = np.random.default_rng(seed)
    sizes = {VAL_ID: int(rng.integers(2, 40)), "a": int(rng.integers(2, 30)), "b": 5}
    scores = {n: rng.integers(0, 8, k) + (n != VAL_ID) * 2.0 for n, k in sizes.items()}
    groups = {
        n: np.array([f"{i // rng.integers(1, 4)}" for i in range(k)], dtype=np.bytes_)
        for n, k in sizes.items()
    }
    return scores, groups


@given(seeds)
def test_resamples_equal_the_metrics_of_repeated_images(seed: int) -> None:
    scores, groups = _sets(seed)
    resampler = Resampler(groups, num=5, seed=seed)
    fast = metrics_of_models({"m": scores}, resampler)["m"]
    (counts,) = Resampler(groups, num=5, seed=seed).chunks(list(scores))
    for i in range(5):
        drawn = {name: np.repeat(scores[name], counts[name][i]) for name in scores}
        for name in ("a", "b"):
            slow = ood_metrics(drawn[VAL_ID], drawn[name])
            for metric in OOD_METRICS:
                assert abs(fast[name][metric][i] - slow[metric]) < 1e-12


@given(seeds)
def test_images_of_a_group_are_drawn_together(seed: int) -> None:
    _, groups = _sets(seed)
    for counts in Resampler(groups, num=7, seed=seed).chunks(list(groups)):
        for name, group in groups.items():
            for one in np.unique(group):
                together = counts[name][:, group == one]
                assert (together == together[:, :1]).all()


@given(seeds)
def test_same_seed_gives_the_same_interval_and_leaving_a_set_out_changes_no_other(
    seed: int,
) -> None:
    scores, groups = _sets(seed)
    one = metrics_of_models({"m": scores}, Resampler(groups, 20, seed))["m"]
    again = metrics_of_models({"m": scores}, Resampler(groups, 20, seed))["m"]
    less = {name: scores[name] for name in (VAL_ID, "b")}
    without = metrics_of_models({"m": less}, Resampler(groups, 20, seed))["m"]
    for metric in OOD_METRICS:
        assert percentile_interval(one["a"][metric]) == percentile_interval(again["a"][metric])
        np.testing.assert_array_equal(one["b"][metric], without["b"][metric])


@given(seeds)
def test_two_equal_models_never_differ(seed: int) -> None:
    scores, groups = _sets(seed)
    drawn = metrics_of_models({"x": scores, "y": scores}, Resampler(groups, 9, seed))
    for metric in OOD_METRICS:
        np.testing.assert_array_equal(drawn["x"]["a"][metric], drawn["y"]["a"][metric])


@given(seeds)
def test_accuracy_of_all_right_is_one(seed: int) -> None:
    scores, groups = _sets(seed)
    right = np.ones(len(scores[VAL_ID]), dtype=bool)
    drawn = resampled_accuracy({"m": right}, Resampler(groups, 9, seed))["m"]
    assert (drawn == 1.0).all()


def test_chunks_give_as_many_resamples_as_asked() -> None:
    groups = {"a": np.array([b"0", b"1", b"2"])}
    chunks = list(Resampler(groups, num=617).chunks(["a"]))
    assert sum(len(one["a"]) for one in chunks) == 617


def test_interval_of_a_mean_covers_the_truth() -> None:
    """Accuracy of .8 on 300 images: 95 % intervals over 200 draws, three sd of slack."""
    covered = 0
    groups = {VAL_ID: np.array([str(i) for i in range(300)], dtype=np.bytes_)}
    for seed in range(200):
        right = np.random.default_rng(seed).uniform(size=300) < 0.8
        drawn = resampled_accuracy({"m": right}, Resampler(groups, 300, seed))["m"]
        low, high = percentile_interval(drawn)
        covered += low <= 0.8 <= high
    assert covered >= 180


@pytest.mark.parametrize(
    ("level", "ends"), [(0.95, (25, 975)), (0.9, (50, 950)), (0.5, (250, 750))]
)
def test_interval_leaves_half_of_what_is_left_over_at_each_end(
    level: float, ends: tuple[float, float]
) -> None:
    interval = percentile_interval(np.arange(1001.0), level)
    np.testing.assert_allclose(tuple(interval), ends)
    assert interval.level == level
