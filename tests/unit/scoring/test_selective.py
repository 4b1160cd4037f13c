from __future__ import annotations

import numpy as np
import pytest

from study.scoring.measuring import ood_metric
from study.scoring.ranking import Weights
from study.scoring.selective import expected_calibration_error, oscr, selective_metrics

SCORES = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
RIGHT = np.array([True, True, False, True, False])
ONCE = Weights.once(5)


def _one(scores: np.ndarray = SCORES, right: np.ndarray = RIGHT) -> dict[str, float]:
    found = selective_metrics(scores, right, Weights.once(len(scores)))
    return {name: float(value[0]) for name, value in found.items()}


def test_selective_metrics_match_hand_computed_values() -> None:
    found = _one()
    assert found["error_auroc"] == pytest.approx(5 / 6)  # of 3 x 2 pairs one is the wrong way
    assert found["aurc"] == pytest.approx((0 + 0 + 1 / 3 + 1 / 4 + 2 / 5) / 5)


def test_augrc_is_the_trapezoid_under_accepted_errors_against_coverage() -> None:
    errors = np.cumsum([0, *~RIGHT[np.argsort(SCORES)]]) / 5
    area = float(np.sum((errors[1:] + errors[:-1]) / 2) / 5)
    assert _one()["augrc"] == pytest.approx(area)


def test_aurc_accepts_ties_together() -> None:
    found = _one(np.zeros(4), np.array([True, False, True, False]))
    assert found["aurc"] == pytest.approx(0.5)
    assert found["error_auroc"] == pytest.approx(0.5)


def test_selective_metrics_of_weights_are_those_of_repeated_images() -> None:
    counts = np.array([[2, 0, 1, 3, 1], [1, 1, 1, 0, 2]], dtype=np.int32)
    found = selective_metrics(SCORES, RIGHT, Weights.of(counts))
    for row, one in enumerate(counts):
        expected = _one(np.repeat(SCORES, one), np.repeat(RIGHT, one))
        for name, value in expected.items():
            assert found[name][row] == pytest.approx(value)


@pytest.mark.parametrize("right", [np.ones(5, bool), np.zeros(5, bool)])
def test_error_auroc_without_errors_or_without_right_ones_is_no_number(right: np.ndarray) -> None:
    assert np.isnan(_one(SCORES, right)["error_auroc"])
    assert np.isfinite(_one(SCORES, right)["aurc"])


def test_oscr_is_the_share_of_pairs_that_are_right_and_in_order() -> None:
    ood = np.array([2.5, 4.5])
    found = oscr(SCORES, RIGHT, ood, ONCE, Weights.once(2))
    assert found[0] == pytest.approx((2 + 2 + 1) / 10)


def test_oscr_of_a_faultless_classifier_is_auroc() -> None:
    ood = np.array([2.5, 4.5, 0.5])
    found = oscr(SCORES, np.ones(5, bool), ood, ONCE, Weights.once(3))
    assert found[0] == pytest.approx(ood_metric("auroc", SCORES, ood))


def test_oscr_where_nothing_is_right_is_zero() -> None:
    assert oscr(SCORES, np.zeros(5, bool), SCORES, ONCE, ONCE)[0] == 0.0


def test_ece_matches_hand_computed_value() -> None:
    confidence = np.array([0.95, 0.92, 0.57, 0.52])
    right = np.array([True, False, True, True])
    # Of 10 bins: .95 and .92 together, .57 and .52 together.
    expected = abs((1 - 0.95) + (0 - 0.92)) / 4 + abs((1 - 0.57) + (1 - 0.52)) / 4
    found = expected_calibration_error(np.log1p(-confidence), right, Weights.once(4), bins=10)
    assert found[0] == pytest.approx(expected)


def test_ece_of_full_confidence_that_is_right_is_zero() -> None:
    scores = np.full(3, -60.0)
    assert expected_calibration_error(scores, np.ones(3, bool), Weights.once(3))[0] < 1e-12
