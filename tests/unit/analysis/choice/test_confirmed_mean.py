from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis.choice.confirmation import (
    candidates_to_confirm,
    confirmation,
    corrected_mean,
    frozen_part,
    winner_text,
)
from analysis.conclusion import confirmation_lines
from tests.fake_confirm import confirm
from tests.fake_run import make_run


def _bias(apart: float, num: int, studies: int = 1500) -> tuple[float, float]:
    """Bias in sd of a seed, raw and corrected, of the best of ``num`` over three seeds."""
    raw, corrected = [], []
    for study in range(studies):
        rng = np.random.default_rng([study, num])
        truth = 0.5 + 0.02 * apart * np.arange(num)
        values = truth[:, None] + 0.02 * rng.normal(size=(num, 3))
        best = int(np.argmin(values.mean(axis=1)))
        raw.append(values[best].mean() - truth[best])
        corrected.append(corrected_mean(list(values), best, sign=1.0)[0] - truth[best])
    return float(np.mean(raw)) / 0.02, float(np.mean(corrected)) / 0.02


def test_mean_of_the_best_of_three_equal_candidates_is_brought_to_the_truth() -> None:
    raw, corrected = _bias(0.0, 3)
    assert raw == pytest.approx(-0.49, abs=0.05)
    assert abs(corrected) < 0.06


def test_mean_of_a_winner_far_ahead_is_left_as_it_is() -> None:
    values = [np.array([0.1, 0.11, 0.12]), np.array([0.5, 0.51, 0.52])]
    mean, interval = corrected_mean(values, 0, sign=1.0)
    assert mean == pytest.approx(0.11, abs=1e-6)
    assert interval.low < 0.11 < interval.high


def test_mean_of_a_metric_to_maximise_is_lowered() -> None:
    values = [np.array([0.90, 0.94, 0.98]), np.array([0.90, 0.93, 0.97])]
    mean, interval = corrected_mean(values, 0, sign=-1.0)
    assert mean < 0.94
    assert interval.low < mean < interval.high


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_interval_of_a_corrected_mean_is_students_and_begins_at_three_quarters_of_the_optimism(
    sign: float,
) -> None:
    one, other = np.array([0.48, 0.50, 0.52]), np.array([0.485, 0.505, 0.525])
    values = [one, other] if sign > 0 else [1 - one, 1 - other]
    mean, (low, high) = corrected_mean(values, 0, sign=sign)
    optimism = abs(mean - 0.5)
    reach = 2.776 * 0.02 / np.sqrt(3)  # t at 0.975 of 4 degrees of freedom, one sd for both
    near, far = (low, high) if sign > 0 else (1 - high, 1 - low)
    assert 0.001 < optimism < reach
    assert near == pytest.approx(0.5 + 0.75 * optimism - reach, abs=1e-4)
    assert far == pytest.approx(0.5 + optimism + reach, abs=1e-4)


def test_winner_of_a_confirmation_is_told_to_be_the_best_of_several(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    one, two = candidates_to_confirm(run, 2)
    confirm(run, {one: [(0.80, 2.0), (0.80, 2.1), (0.80, 1.9)], two: [(0.80, 1.9)] * 3})
    study = analysis.load(run.path)
    found = confirmation(study)
    assert found is not None
    assert found.winner is not None
    assert found.corrected is not None
    assert found.corrected >= found.winner.mean
    assert "best of 2; corrected for that" in winner_text(found)
    assert any("best of 2; corrected" in line for line in confirmation_lines(study))
    told = frozen_part(study, study.select())["confirmation"]
    assert told["corrected_mean"] == found.corrected
    assert told["corrected_interval"] == list(found.interval or ())


def test_winner_of_a_confirmation_with_one_seed_each_is_told_not_to_be_corrected(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path)
    one, two = candidates_to_confirm(run, 2)
    confirm(run, {one: [(0.80, 2.0)], two: [(0.80, 1.9)]}, seeds=1)
    found = confirmation(analysis.load(run.path))
    assert found is not None
    assert "cannot be corrected" in winner_text(found)
    assert found.corrected is None
