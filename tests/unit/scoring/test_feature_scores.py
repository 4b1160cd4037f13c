import math
import time

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from study.scoring.feature_scores import (
    ZScore,
    class_prototypes,
    combined_score,
    fit_zscores,
    knn_score,
    prototype_score,
    unit_rows,
)

HALF = math.sqrt(0.5)


def rows(*values):
    return torch.tensor(values, dtype=torch.float32)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def values(tensor):
    assert tensor.dtype == torch.float64
    return tensor.tolist()


def test_unit_rows_have_length_one_and_zero_stays_zero():
    assert values(unit_rows(rows((3, 4), (0, 0)))) == [[0.6, 0.8], [0, 0]]


def test_unit_rows_of_extreme_features_are_finite():
    extreme = torch.tensor([[3e200, 4e200], [3e-300, 4e-300]], dtype=torch.float64)
    torch.testing.assert_close(unit_rows(extreme), unit_rows(rows((3, 4), (3, 4))))


def test_class_prototypes_match_hand_computed_values():
    # Class 0: directions (1, 0) and (0, 1), whatever their lengths; class 1: (-1, 0).
    features = rows((10, 0), (-2, 0), (0, 0.5))
    prototypes = class_prototypes(features, torch.tensor([0, 1, 0]), 2)
    torch.testing.assert_close(
        prototypes, torch.tensor([[HALF, HALF], [-1, 0]], dtype=torch.float64)
    )


def test_class_prototypes_class_without_images_raises():
    with pytest.raises(ValueError, match=r"classes \[1, 3\] have no image"):
        class_prototypes(normal(3, 2), torch.tensor([0, 2, 2]), 4)
    with pytest.raises(ValueError, match=r"classes \[0\] have no image"):
        class_prototypes(normal(3, 2), torch.tensor([1, 2, 2]), 3)


@pytest.mark.parametrize("labels", [[0, 2], [0, -1]])
def test_class_prototypes_label_out_of_range_raises(labels):
    with pytest.raises(ValueError, match=r"must be in \[0, 2\)"):
        class_prototypes(normal(2, 3), torch.tensor(labels), 2)


def test_class_prototypes_features_that_are_not_finite_raise():
    with pytest.raises(ValueError, match="1 of 2 rows are not finite"):
        class_prototypes(rows((1, math.nan), (1, 1)), torch.tensor([0, 1]), 2)


def test_prototype_score_matches_hand_computed_values():
    prototypes = rows((1, 0), (0, 1))
    scores = prototype_score(rows((5, 0), (1, 1), (-1, 0), (-1, -1), (0, 0)), prototypes)
    assert values(scores) == pytest.approx([0, 1 - HALF, 1, 1 + HALF, 1])


def test_knn_score_matches_hand_computed_values():
    bank = rows((1, 0), (0, 2), (-3, 0))
    features = rows((4, 0), (0, 0))
    for k, expected in ((1, [0, 1]), (2, [1, 1]), (3, [2, 1])):
        assert values(knn_score(features, bank, k)) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 7])
def test_knn_score_equals_scikit_learn(k):
    # Nine million similarities are not held at once: the last of three chunks is the smallest.
    features, bank = normal(3000, 8), normal(3000, 8, seed=1)
    distances, _ = (
        NearestNeighbors(metric="cosine").fit(bank.double()).kneighbors(features.double(), k)
    )
    found = knn_score(features, bank, k).numpy()
    np.testing.assert_allclose(found, distances[:, -1], atol=1e-12)


def test_knn_score_orders_as_the_euclidean_distance_of_unit_vectors():
    features, bank = normal(50, 8), normal(40, 8, seed=1)
    distances = torch.cdist(unit_rows(features), unit_rows(bank)).sort(dim=1).values[:, 4]
    torch.testing.assert_close(2 * knn_score(features, bank, 5), distances.square())


def test_knn_score_is_fast():
    features, bank = normal(5000, 128), normal(5000, 128, seed=1)
    start = time.process_time()
    knn_score(features, bank, 50)
    # 0.35 s on one core of a shared machine.
    assert time.process_time() - start < 3


@pytest.mark.parametrize("k", [0, 4])
def test_knn_score_k_out_of_range_raises(k):
    with pytest.raises(ValueError, match=f"k: {k} must be from 1 to the 3"):
        knn_score(normal(2, 2), normal(3, 2), k)


def test_knn_score_other_bad_arguments_raise():
    with pytest.raises(ValueError, match="width 2 against bank of 3"):
        knn_score(normal(2, 2), normal(3, 3), 1)
    with pytest.raises(ValueError, match=r"shape \(2,\), must be \(N, D\)"):
        knn_score(normal(2), normal(3, 2), 1)


def test_zscore_matches_hand_computed_values():
    stats = ZScore.fit(np.array([1.0, 3.0]))
    assert stats == ZScore(mean=2.0, std=1.0)
    assert values(stats.of(np.array([2.0, 5.0]))) == [0, 3]


@pytest.mark.parametrize("level", [0.0, 0.1, -1e9])
def test_zscore_of_a_constant_score_is_zero(level):
    stats = ZScore.fit(np.full(1001, level))
    assert stats.std == 0
    assert values(stats.of(np.array([level, level + 5]))) == [0, 0]


@pytest.mark.parametrize("scores", [[], [1.0, math.nan], [math.inf]])
def test_zscore_of_none_or_not_finite_raises(scores):
    with pytest.raises(ValueError, match="finite"):
        ZScore.fit(np.array(scores))


def test_combined_score_is_the_mean_of_z_scores():
    fitted = {"a.z": torch.tensor([0.0, 1.0]), "b.z": torch.tensor([10.0, 2.0])}
    scores = {"b": np.array([10.0, 14.0]), "a": np.array([1.0, -1.0])}
    assert values(combined_score(scores, fitted)) == [0.5, 0.5]


def test_combined_score_constant_component_adds_nothing():
    fitted = {"a.z": torch.tensor([0.0, 1.0]), "dead.z": torch.tensor([7.0, 0.0])}
    scores = {"a": np.array([1.0, 4.0]), "dead": np.array([0.0, 99.0])}
    assert values(combined_score(scores, fitted)) == [0.5, 2.0]


def test_combined_score_names_that_do_not_fit_raise():
    with pytest.raises(ValueError, match=r"scores: \['a', 'b'\]"):
        combined_score({"b": np.zeros(2)}, {"a.z": torch.tensor([0.0, 1.0])})
    with pytest.raises(ValueError, match="none to combine"):
        combined_score({}, {})


def test_fit_zscores_names_the_score_at_fault():
    with pytest.raises(ValueError, match="knn: scores"):
        fit_zscores({"msp": np.zeros(3), "knn": np.array([math.nan])})


def test_combined_score_takes_what_was_fitted_from_among_other_tensors():
    fitted = fit_zscores({"upper_knn": np.array([1.0, 3.0]), "msp": np.array([0.0, 4.0])})
    fitted["upper.prototypes"] = normal(4, 2)
    assert values(combined_score({"upper_knn": [3.0], "msp": [2.0]}, fitted)) == [0.5]


def test_scores_do_not_depend_on_the_batch():
    new, bank = normal(10, 8, seed=1), normal(60, 8)
    prototypes = class_prototypes(bank, torch.arange(60) % 3, 3)
    for score in (lambda part: knn_score(part, bank, 3), lambda p: prototype_score(p, prototypes)):
        parts = torch.cat([score(part) for part in new.split(5)])
        torch.testing.assert_close(score(new), parts, rtol=0, atol=1e-14)


def test_combined_score_ranks_far_features_above_near_ones():
    generator = torch.Generator().manual_seed(0)
    centres = 20 * torch.eye(4)
    labels = torch.arange(400) % 4

    def near():
        return centres[labels] + torch.randn(len(labels), 4, generator=generator)

    train = near()
    prototypes = class_prototypes(train, labels, 4)

    def scores(new):
        return {"knn": knn_score(new, train, 5), "prototype": prototype_score(new, prototypes)}

    id_scores = scores(near())
    fitted = fit_zscores(id_scores)
    id_combined = combined_score(id_scores, fitted)
    assert float(id_combined.mean()) == pytest.approx(0, abs=1e-9)
    assert float(combined_score(scores(-near()), fitted).min()) > float(id_combined.max())
