"""Statistics of paired differences: by hand, against scipy, and how often they are right."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.paired import (
    bootstrap_interval,
    holm,
    paired,
    sign_flip_p,
    t_interval,
)


def test_paired_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, sd 1; t(.975, 2) = 4.302653; 2 of 8 sign vectors reach |6|.
    told = paired(np.array([1.0, 2.0, 3.0]))
    assert (told.n, told.mean, told.sd, told.standardised) == (3, 2.0, 1.0, 2.0)
    assert told.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-6)
    assert told.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-6)
    assert (told.method, told.p, told.p_floor) == ("t", 0.25, 0.25)


def test_paired_without_pairs_has_no_numbers() -> None:
    told = paired(np.array([]))
    assert told.n == 0
    assert all(math.isnan(one) for one in (told.mean, told.sd, told.low, told.p, told.p_floor))


def test_paired_one_pair_has_a_mean_and_no_interval() -> None:
    told = paired(np.array([0.5]))
    assert (told.mean, told.p, told.p_floor, told.method) == (0.5, 1.0, 1.0, None)
    assert math.isnan(told.low)


def test_paired_equal_differences_have_no_standardised_effect() -> None:
    told = paired(np.array([0.1, 0.1, 0.1 + 1e-17]))
    assert math.isnan(told.standardised)
    assert told.low == pytest.approx(told.high)


def test_paired_uses_the_bootstrap_from_ten_pairs_on() -> None:
    draws = np.random.default_rng(0).normal(size=10)
    assert paired(draws[:9]).method == "t"
    assert paired(draws).method == "bootstrap"


def test_paired_same_seed_same_interval() -> None:
    draws = np.random.default_rng(0).normal(size=12)
    one, same, other = (paired(draws, num_resamples=200, seed=seed) for seed in (1, 1, 2))
    assert (one.low, one.high) == (same.low, same.high)
    assert (one.low, one.high) != (other.low, other.high)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 11])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_sign_flip_equals_every_sign_vector(n: int, shift: float) -> None:
    draws = np.random.default_rng(n).normal(shift, size=n)
    signs = np.array(list(itertools.product([-1, 1], repeat=n)))
    far = np.abs(signs @ draws) >= abs(draws.sum()) - 1e-9
    assert sign_flip_p(draws) == pytest.approx(far.mean(), abs=1e-15)


def test_sign_flip_agrees_with_scipys_permutation_test() -> None:
    draws = np.random.default_rng(3).normal(0.5, size=9)
    one = stats.permutation_test(
        (draws, np.zeros(9)), lambda x, y: np.mean(x - y), permutation_type="samples"
    )
    assert sign_flip_p(draws) == pytest.approx(one.pvalue)


def test_sign_flip_ties_count_in_spite_of_rounding() -> None:
    # .1 + .2 is not .3 in binary, so sums that are equal on paper differ in the last bit.
    assert sign_flip_p(np.array([0.1, 0.2, 0.3])) == 0.25
    assert sign_flip_p(np.array([0.3, -0.1, -0.2])) == 1.0
    assert sign_flip_p(np.zeros(4)) == 1.0


def test_sign_flip_of_many_pairs_is_near_the_exact_one() -> None:
    draws = np.random.default_rng(5).normal(0.25, size=40)
    normal = 2 * stats.norm.sf(abs(draws.sum()) / np.sqrt((draws**2).sum()))
    assert sign_flip_p(draws) == pytest.approx(normal, rel=0.1)


def test_sign_flip_is_exact_up_to_36_pairs_and_random_beyond() -> None:
    assert sign_flip_p(np.ones(36)) == 2.0**-35
    # Of 100,000 random flips none is as far, but the observed one counts.
    assert sign_flip_p(np.ones(37)) == pytest.approx(1 / 100_001, rel=1e-9)
    assert paired(np.ones(37)).p_floor == pytest.approx(1 / 100_001, rel=1e-9)


def test_holm_by_hand() -> None:
    # Sorted .01 x 4, .02 x 3, .03 x 2 = .06, .5 x 1; .06 is the running maximum from .02 on.
    corrected = holm(np.array([0.03, 0.01, 0.5, 0.02]))
    assert corrected == pytest.approx([0.06, 0.04, 0.5, 0.06])


def test_holm_leaves_out_what_was_not_tested_and_stops_at_one() -> None:
    corrected = holm(np.array([0.6, np.nan, 0.7]))
    assert np.isnan(corrected[1])
    assert corrected[[0, 2]].tolist() == [1.0, 1.0]


def test_t_interval_covers_the_truth_as_often_as_it_says() -> None:
    for n in (2, 3, 5, 9):
        draws = np.random.default_rng(n).normal(0.4, 1.0, size=(2000, n))
        inside = [low <= 0.4 <= high for low, high in map(t_interval, draws)]
        # Three standard errors of a share of 2,000 at .95.
        assert np.mean(inside) == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 2000))


@pytest.mark.parametrize("kind", ["normal", "skewed"])
def test_bootstrap_interval_covers_the_truth_at_ten_pairs(kind: str) -> None:
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(400, 10)) if kind == "normal" else rng.gamma(4, size=(400, 10)) - 4
    inside = []
    for i, one in enumerate(draws):
        low, high = bootstrap_interval(one, num_resamples=600, seed=i)
        inside.append(low <= 0 <= high)
    assert np.mean(inside) >= 0.92


def test_dummy_arms_are_rarely_significant_after_holm() -> None:
    rng = np.random.default_rng(7)
    false = 0
    for _ in range(300):
        baseline = rng.normal(size=8)
        arms = rng.normal(size=(5, 8))  # share the baseline, so the tests are correlated
        p_values = np.array([sign_flip_p(arm - baseline) for arm in arms])
        false += bool((holm(p_values) <= 0.05).any())
    # Nominal 5 %; three standard errors of 300 studies above it.
    assert false / 300 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


def test_true_effect_is_found_among_dummies() -> None:
    rng = np.random.default_rng(8)
    found = 0
    for _ in range(100):
        baseline = rng.normal(size=10)
        arms = rng.normal(size=(5, 10))
        arms[0] += 2.5
        p_values = np.array([sign_flip_p(arm - baseline) for arm in arms])
        found += bool(holm(p_values)[0] <= 0.05)
    assert found >= 90


def test_bootstrap_interval_of_normal_values_is_as_wide_as_students() -> None:
    # Without its widening by sqrt(n / (n - 1)) it would be a twentieth narrower at ten pairs.
    values = np.sqrt(2.0) * np.array([-1.6, -1.0, -0.7, -0.4, -0.1, 0.1, 0.4, 0.7, 1.0, 1.6])
    expanded, student = bootstrap_interval(values, num_resamples=20_000), t_interval(values)
    widths = expanded.high - expanded.low, student.high - student.low
    assert widths[0] == pytest.approx(widths[1], rel=0.025)
