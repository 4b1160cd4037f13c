import time

import numpy as np
import pytest

from study.errors import StudyFailed
from study.scoring.measuring import (
    OOD_METRICS,
    fpr_at_recall,
    ood_metric,
    ood_metrics,
    resampled_metrics,
    threshold_at_recall,
)
from study.scoring.metrics import METRICS, Metric
from study.scoring.ranking import bootstrap_counts


def test_ood_metrics_perfectly_separated_sets_are_perfect():
    assert ood_metrics([0, 1, 2], [3, 4]) == {
        "fpr95": 0.0,
        "fpr95_ood_positive": 0.0,
        "auroc": 1.0,
        "aupr_in": 1.0,
        "aupr_out": 1.0,
    }


def test_ood_metrics_constant_scores_are_chance():
    metrics = ood_metrics([1.0] * 3, [1.0])
    assert metrics["auroc"] == 0.5
    assert metrics["fpr95"] == metrics["fpr95_ood_positive"] == 1.0
    assert metrics["aupr_in"] == 0.75
    assert metrics["aupr_out"] == 0.25


def test_ood_metrics_small_case_matches_hand_computed_values():
    # ID 1 2 3, OOD 2 4: pairs won 1+1, 0.5+1, 0+1 of 6.
    metrics = ood_metrics([3, 1, 2], [4, 2])
    assert metrics["auroc"] == pytest.approx(4.5 / 6)
    assert metrics["fpr95"] == 0.5
    assert metrics["fpr95_ood_positive"] == pytest.approx(2 / 3)
    assert metrics["aupr_in"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert metrics["aupr_out"] == pytest.approx((1 + 2 / 4) / 2)


@pytest.mark.parametrize("size", [1, 19, 20, 40, 100, 1000, 5000])
def test_threshold_at_recall_is_lowest_that_reaches_it(size):
    scores = np.random.default_rng(size).permutation(size).astype(float)
    threshold = threshold_at_recall(scores)
    assert (scores <= threshold).mean() >= 0.95
    assert (scores <= threshold - 1).mean() < 0.95


def test_threshold_at_recall_at_every_size_agrees_with_counting():
    for size in range(1, 2000):
        threshold = threshold_at_recall(np.arange(1, size + 1))
        reached = np.flatnonzero(np.arange(1, size + 1) / size >= 0.95)
        assert threshold == reached[0] + 1


def test_fpr_at_recall_other_recall_counts_ood_up_to_threshold():
    assert fpr_at_recall([1, 2, 3, 4], [0, 2, 2.5, 9], recall=0.5) == 0.5
    assert fpr_at_recall([1, 2, 3, 4], [0, 2, 2.5, 9], recall=1.0) == 0.75


@pytest.mark.parametrize("recall", [0.0, -0.1, 1.01, float("nan")])
def test_recall_outside_range_raises(recall):
    with pytest.raises(ValueError, match="recall"):
        fpr_at_recall([1.0], [2.0], recall=recall)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_ood_metrics_non_finite_score_raises_and_names_it(bad):
    with pytest.raises(ValueError, match=r"id_scores: 1 of 3 scores .* index 1"):
        ood_metrics([0.0, bad, 1.0], [2.0])
    with pytest.raises(ValueError, match="ood_scores: 1 of 1"):
        ood_metric("auroc", [0.0], [bad])
    with pytest.raises(ValueError, match="id_scores"):
        threshold_at_recall([bad])


@pytest.mark.parametrize("bad", [[], [[1.0]], 1.0])
def test_ood_metrics_wrong_shape_raises(bad):
    with pytest.raises(ValueError, match="must be"):
        ood_metrics(bad, [1.0])
    with pytest.raises(ValueError, match="must be"):
        ood_metric("fpr95_ood_positive", [1.0], bad)


def test_ood_metrics_ten_thousand_against_twenty_six_thousand_within_50_ms():
    generator = np.random.default_rng(0)
    id_scores, ood_scores = generator.normal(size=10_000), generator.normal(1, 1, 26_000)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        ood_metrics(id_scores, ood_scores)
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.05


def test_resampled_metrics_equals_naive_resampling():
    generator = np.random.default_rng(1)
    # Rounded, so that there are ties within and across the sets.
    id_scores, ood_scores = generator.normal(size=60).round(1), generator.normal(1, 1, 40).round(1)
    id_counts = bootstrap_counts(np.arange(60) // 2, 50, generator)
    ood_counts = bootstrap_counts(np.arange(40) // 4, 50, generator)
    fast = resampled_metrics(id_scores, ood_scores, id_counts, ood_counts, OOD_METRICS)
    for row in range(50):
        naive = ood_metrics(
            np.repeat(id_scores, id_counts[row]), np.repeat(ood_scores, ood_counts[row])
        )
        for name in OOD_METRICS:
            assert fast[name][row] == pytest.approx(naive[name], abs=1e-12), (name, row)


def test_resampled_metrics_in_several_blocks_equals_one(monkeypatch):
    generator = np.random.default_rng(2)
    id_scores, ood_scores = generator.normal(size=30), generator.normal(size=20)
    id_counts = bootstrap_counts(np.arange(30), 17, generator)
    ood_counts = bootstrap_counts(np.arange(20), 17, generator)
    whole = resampled_metrics(id_scores, ood_scores, id_counts, ood_counts, OOD_METRICS)
    monkeypatch.setattr("study.scoring.measuring.BLOCK", 100)
    blocks = resampled_metrics(id_scores, ood_scores, id_counts, ood_counts, OOD_METRICS)
    for name in OOD_METRICS:
        np.testing.assert_array_equal(whole[name], blocks[name])


def test_resampled_metrics_images_absent_from_resample_have_no_say():
    values = resampled_metrics(
        [0.0, 5.0], [1.0, 9.0], np.array([[0, 3]]), np.array([[2, 0]]), OOD_METRICS
    )
    assert values["auroc"][0] == 0.0
    assert values["fpr95"][0] == 1.0


@pytest.mark.parametrize(
    ("id_counts", "match"),
    [
        (np.array([[1, 0, 0]]), "integers"),
        (np.array([[1.0, 0.0]]), "integers"),
        (np.array([1, 0]), "integers"),
        (np.array([[-1, 2]]), "negative"),
        (np.array([[0, 0]]), "no image"),
        (np.array([[1, 0], [1, 0]]), "2 resamples of ID, 1 of OOD"),
    ],
)
def test_resampled_metrics_bad_counts_raise(id_counts, match):
    with pytest.raises(ValueError, match=match):
        resampled_metrics([0.0, 1.0], [2.0], id_counts, np.array([[1]]))


def test_resampled_metrics_unknown_name_raises_with_known_ones():
    with pytest.raises(ValueError, match=r"unknown metrics \['fpr'\].*fpr95"):
        resampled_metrics([0.0], [2.0], np.array([[1]]), np.array([[1]]), ["fpr"])


def test_bootstrap_counts_draws_whole_groups_and_is_a_function_of_the_generator():
    groups = np.array([b"b", b"a", b"b", b"c"])
    counts = bootstrap_counts(groups, 200, np.random.default_rng(3))
    assert counts.shape == (200, 4)
    np.testing.assert_array_equal(counts[:, 0], counts[:, 2])
    np.testing.assert_array_equal(counts[:, 0] + counts[:, 1] + counts[:, 3], 3)
    again = bootstrap_counts(groups, 200, np.random.default_rng(3))
    np.testing.assert_array_equal(counts, again)


def test_bootstrap_counts_mean_is_one_for_each_image():
    counts = bootstrap_counts(np.arange(50), 4000, np.random.default_rng(4))
    assert np.abs(counts.mean(axis=0) - 1).max() < 0.1


@pytest.mark.parametrize(("groups", "num"), [([], 3), ([[1]], 3), ([1], 0)])
def test_bootstrap_counts_bad_arguments_raise(groups, num):
    with pytest.raises(ValueError, match="must be"):
        bootstrap_counts(groups, num, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("compute", "match"),
    [
        (lambda _: np.array([np.nan]), r"metric odd: gives nan for 1 of 1 weightings"),
        (lambda _: np.array([np.inf]), r"metric odd: gives inf"),
        (lambda _: np.zeros(3), r"metric odd: gives shape \(3,\) for 1 weightings"),
        (lambda _: 0.5, r"metric odd: gives shape \(\)"),
    ],
)
def test_metric_that_gives_no_number_a_weighting_raises_and_names_it(compute, match, monkeypatch):
    monkeypatch.setitem(METRICS, "odd", Metric("odd", "Odd", "lower", compute=compute))
    monkeypatch.setattr("study.scoring.measuring.OOD_METRICS", (*OOD_METRICS, "odd"))
    with pytest.raises(StudyFailed, match=match):
        ood_metric("odd", [0.0], [1.0])
