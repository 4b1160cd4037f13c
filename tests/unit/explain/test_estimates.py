from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from study.explain.estimates import mean_with_interval, rank_correlations


def test_rank_correlation_equals_scipys_with_ties() -> None:
    generator = np.random.default_rng(0)
    first = generator.integers(0, 5, (6, 4, 4)).astype(float)
    second = first + generator.normal(0, 2, first.shape).round()
    pairs = zip(first, second, strict=True)
    expected = [spearmanr(one.ravel(), two.ravel()).statistic for one, two in pairs]
    np.testing.assert_allclose(rank_correlations(first, second), expected, atol=1e-12)


def test_rank_correlation_sees_order_alone() -> None:
    values = np.random.default_rng(1).normal(size=(2, 3, 3))
    np.testing.assert_allclose(rank_correlations(values, np.exp(values)), 1.0)
    np.testing.assert_allclose(rank_correlations(values, -values), -1.0)


def test_constant_map_has_no_rank_correlation() -> None:
    values = np.random.default_rng(1).normal(size=(2, 3, 3))
    values[0] = 0.0
    correlation = rank_correlations(values, values)
    assert np.isnan(correlation[0])
    assert correlation[1] == pytest.approx(1.0)


def test_interval_is_seeded_and_holds_the_mean() -> None:
    values = np.random.default_rng(2).normal(1.0, 1.0, 200)
    groups = np.arange(200)
    one = mean_with_interval(values, groups, 0, "x")
    assert one == mean_with_interval(values, groups, 0, "x")
    assert one != mean_with_interval(values, groups, 1, "x")
    assert one.mean == pytest.approx(values.mean())
    half = 1.96 * values.std(ddof=1) / np.sqrt(200)
    assert one.low == pytest.approx(values.mean() - half, abs=0.03)
    assert one.high == pytest.approx(values.mean() + half, abs=0.03)


def test_images_of_one_source_do_not_narrow_the_interval() -> None:
    values = np.repeat(np.random.default_rng(3).normal(size=20), 10)
    by_image = mean_with_interval(values, np.arange(200), 0)
    by_source = mean_with_interval(values, np.repeat(np.arange(20), 10), 0)
    assert by_source.num_groups == 20
    widths = [one.high - one.low for one in (by_image, by_source)]  # type: ignore[operator]
    assert widths[1] > 2 * widths[0]


def test_undefined_values_are_counted_and_left_out() -> None:
    told = mean_with_interval([1.0, np.nan, 3.0], [0, 1, 2], 0)
    assert (told.mean, told.num_images, told.num_undefined) == (2.0, 2, 1)
    nothing = mean_with_interval([np.nan], [0], 0)
    assert (nothing.mean, nothing.low, nothing.num_undefined) == (None, None, 1)
