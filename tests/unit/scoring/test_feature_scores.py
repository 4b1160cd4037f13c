import math
import time

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from study.scoring import feature_scores as fs
from study.scoring.feature_scores import (
    ZScore,
    class_prototypes,
    combine,
    combined_score,
    constant_components,
    feature_scores,
    fit_features,
    fit_zscores,
    knn_score,
    prototype_score,
    unit_rows,
    zscores_of,
)
from study.seeding import torch_generator

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
    assert values(knn_score(features, bank, 3, neighbours="mean")) == pytest.approx([1, 1])


@pytest.mark.parametrize("k", [1, 7])
@pytest.mark.parametrize("neighbours", ["kth", "mean"])
def test_knn_score_equals_scikit_learn(monkeypatch, k, neighbours):
    monkeypatch.setattr(fs, "_CHUNK", 1000)  # many chunks, the last of them smaller
    features, bank = normal(123, 16), normal(90, 16, seed=1)
    distances, _ = (
        NearestNeighbors(metric="cosine").fit(bank.double()).kneighbors(features.double(), k)
    )
    expected = distances[:, -1] if neighbours == "kth" else distances.mean(axis=1)
    np.testing.assert_allclose(
        knn_score(features, bank, k, neighbours=neighbours).numpy(), expected, atol=1e-12
    )


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
    with pytest.raises(ValueError, match=r"'median'; there are \['kth', 'mean'\]"):
        knn_score(normal(2, 2), normal(3, 2), 1, neighbours="median")
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


def test_combine_is_the_mean_of_z_scores():
    stats = {"a": ZScore(0, 1), "b": ZScore(10, 2)}
    scores = {"b": np.array([10.0, 14.0]), "a": np.array([1.0, -1.0])}
    assert values(combine(scores, stats)) == [0.5, 0.5]
    assert values(combine(scores, stats, {"a": 3, "b": 1})) == [0.75, -0.25]


def test_combine_constant_component_adds_nothing_and_is_named():
    stats = {"a": ZScore(0, 1), "dead": ZScore(7, 0)}
    combined = combine({"a": np.array([1.0, 4.0]), "dead": np.array([0.0, 99.0])}, stats)
    assert values(combined) == [0.5, 2.0]
    assert constant_components(stats) == ("dead",)


def test_combine_names_that_do_not_fit_raise():
    stats = {"a": ZScore(0, 1)}
    with pytest.raises(ValueError, match=r"scores: \['a', 'b'\]"):
        combine({"b": np.zeros(2)}, stats)
    with pytest.raises(ValueError, match=r"weights: \['c'\]"):
        combine({"a": np.zeros(2)}, stats, {"a": 1, "c": 1})


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_combine_weights_without_effect_raise(weight):
    with pytest.raises(ValueError, match="must be >= 0, and one of them above 0"):
        combine({"a": np.zeros(2)}, {"a": ZScore(0, 1)}, {"a": weight})


def test_fit_zscores_names_the_score_at_fault():
    with pytest.raises(ValueError, match="knn: scores"):
        fit_zscores({"msp": np.zeros(3), "knn": np.array([math.nan])})


def test_fit_zscores_come_back_from_the_flat_dict():
    fitted = fit_zscores({"upper_knn": np.array([1.0, 3.0]), "msp": np.array([0.0, 4.0])})
    fitted |= fit_features(
        "upper", normal(4, 2), torch.tensor([0, 1, 0, 1]), 2,
        bank_size=2, generator=torch_generator(0, "bank"),
    )  # fmt: skip
    assert zscores_of(fitted) == {"upper_knn": ZScore(2, 1), "msp": ZScore(2, 2)}


def fit(bank_size=20, seed=0):
    features, labels = normal(60, 8), torch.arange(60) % 3
    generator = torch_generator(seed, "bank")
    return fit_features("upper", features, labels, 3, bank_size=bank_size, generator=generator)


def test_fit_features_scores_are_those_of_the_plain_functions():
    features, labels, new = normal(60, 8), torch.arange(60) % 3, normal(9, 8, seed=1)
    scores = feature_scores("upper", new, fit(bank_size=100), k=4)
    assert list(scores) == ["upper_prototype", "upper_knn"]
    prototypes = class_prototypes(features, labels, 3)
    torch.testing.assert_close(scores["upper_prototype"], prototype_score(new, prototypes))
    # The bank is kept in float32.
    torch.testing.assert_close(scores["upper_knn"], knn_score(new, features, 4), rtol=0, atol=1e-6)


def test_fit_features_draws_the_bank_from_its_generator():
    assert fit()["upper.bank"].shape == (20, 8)
    assert torch.equal(fit(seed=1)["upper.bank"], fit(seed=1)["upper.bank"])
    assert not torch.equal(fit(seed=1)["upper.bank"], fit(seed=2)["upper.bank"])


def test_fit_features_empty_bank_raises():
    with pytest.raises(ValueError, match="bank_size: 0"):
        fit(bank_size=0)


def test_feature_scores_of_features_that_were_not_fitted_raise():
    with pytest.raises(ValueError, match=r"'lower' were not fitted; there are \['upper'\]"):
        feature_scores("lower", normal(2, 8), fit(), k=1)


def test_feature_scores_do_not_depend_on_the_batch():
    new, fitted = normal(10, 8, seed=1), fit()
    whole = feature_scores("upper", new, fitted, k=3)
    halves = [feature_scores("upper", part, fitted, k=3) for part in new.split(5)]
    for name, scores in whole.items():
        torch.testing.assert_close(
            scores, torch.cat([half[name] for half in halves]), rtol=0, atol=1e-14
        )


def test_combined_score_ranks_far_features_above_near_ones():
    generator = torch.Generator().manual_seed(0)
    centres = 20 * torch.eye(4)
    labels = torch.arange(400) % 4

    def near(labels):
        return centres[labels] + torch.randn(len(labels), 4, generator=generator)

    fitted = fit_features("u", near(labels), labels, 4, bank_size=200, generator=generator)
    id_scores = feature_scores("u", near(labels), fitted, k=5)
    fitted |= fit_zscores(id_scores)
    far = feature_scores("u", -near(labels), fitted, k=5)
    id_combined = combined_score(id_scores, fitted)
    assert float(id_combined.mean()) == pytest.approx(0, abs=1e-9)
    assert float(combined_score(far, fitted).min()) > float(id_combined.max())
