from __future__ import annotations

import numpy as np
import pytest

from study.scoring.intervals import image_interval, percentile_interval

RNG = np.random.default_rng(0)


def test_image_interval_of_many_sources_is_the_normal_one_on_the_even_scale() -> None:
    values = np.sin(np.arcsin(0.3**0.5) + 0.01 * RNG.normal(size=20_000)) ** 2
    low, high = image_interval(0.3, values, 100_000)
    expected = [np.sin(np.arcsin(0.3**0.5) + end * 0.0196) ** 2 for end in (-1, 1)]
    assert [low, high] == pytest.approx(expected, abs=1e-3)


def test_image_interval_of_few_sources_is_wider_by_student_and_the_root() -> None:
    values = 0.5 + 0.01 * RNG.normal(size=20_000)
    low, high = image_interval(0.5, values, 5, "difference")
    assert (high - low) / 2 == pytest.approx(2.776 * (5 / 4) ** 0.5 * 0.01, rel=0.02)


def test_image_interval_of_an_area_reaches_further_down_than_up_and_stays_below_one() -> None:
    values = np.clip(0.97 + 0.02 * RNG.normal(size=2000), 0, 1)
    low, high = image_interval(0.97, values, 10, "area")
    assert 0.97 - low > high - 0.97
    assert high < 1


@pytest.mark.parametrize("scale", ["share", "area"])
@pytest.mark.parametrize("point", [0.0, 1.0])
def test_image_interval_at_an_end_holds_the_point(scale: str, point: float) -> None:
    low, high = image_interval(point, np.full(50, point), 10, scale)  # type: ignore[arg-type]
    assert low <= point <= high
    assert high - low < 1e-5


def test_image_interval_of_one_source_counts_as_two() -> None:
    values = 0.5 + 0.01 * RNG.normal(size=100)
    assert tuple(image_interval(0.5, values, 1)) == tuple(image_interval(0.5, values, 2))


def test_auroc_of_ten_sources_is_covered_where_percentiles_are_too_narrow() -> None:
    """Means of ten normal sources stand for AUROC's; `benchmarks/coverage.py areas` has it."""
    hits = np.zeros(2)
    truth = 1 / (1 + np.exp(-2.0))
    for study in range(400):
        rng = np.random.default_rng(study)
        sources = 2.0 + rng.normal(size=10)
        means = sources[rng.integers(0, 10, (300, 10))].mean(axis=1)
        values = 1 / (1 + np.exp(-means))
        point = float(1 / (1 + np.exp(-sources.mean())))
        for way, (low, high) in enumerate(
            (percentile_interval(values), image_interval(point, values, 10, "area"))
        ):
            hits[way] += low <= truth <= high
    assert hits[0] / 400 < 0.92
    assert hits[1] / 400 > 0.93
