from __future__ import annotations

import numpy as np
import pytest

from study.scoring.conformal import conformal_threshold


def test_threshold_is_the_order_statistic_of_the_rule() -> None:
    scores = np.arange(1.0, 100.0)[::-1]  # n = 99, k = ceil(100 * .95) = 95
    found = conformal_threshold(scores)
    assert found.threshold == 95.0
    assert found.num_images == 99


def test_rounding_adds_no_image() -> None:
    assert conformal_threshold(np.arange(1.0, 20.0)).threshold == 19.0  # 20 * .95 is 19


def test_too_few_images_accept_everything_and_say_so() -> None:
    found = conformal_threshold(np.arange(18.0))
    assert found.threshold is None
    assert "takes 19 of them, so everything is accepted" in found.promise()


def test_coverage_of_exchangeable_images_is_what_is_promised() -> None:
    generator = np.random.default_rng(0)
    drawn = generator.normal(size=(4_000, 61))
    thresholds = np.array([conformal_threshold(row[:-1], 0.9).threshold for row in drawn])
    covered = np.mean(drawn[:, -1] <= thresholds)
    assert covered == pytest.approx(55 / 61, abs=0.015)  # k / (n + 1), at least .9


def test_share_of_a_calibration_lies_in_its_interval_nine_times_in_ten() -> None:
    generator = np.random.default_rng(1)
    drawn = generator.uniform(size=(4_000, 60))  # of uniform scores the share is the threshold
    found = [conformal_threshold(row, 0.9) for row in drawn]
    inside = [one.share.low <= (one.threshold or 0) <= one.share.high for one in found]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.015)


@pytest.mark.parametrize("scores", [[], [[1.0]], [1.0, np.nan]])
def test_scores_that_calibrate_nothing_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        conformal_threshold(scores)
