from __future__ import annotations

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from replay.cube import grid, in_unit_cube, points_at

DISTRIBUTIONS = {
    "rate": FloatDistribution(1e-4, 1e-2, log=True),
    "batch": CategoricalDistribution([64, 128, 256]),
    "step": CategoricalDistribution(["epoch", "batch"]),
}


def test_in_unit_cube_is_on_the_scale_that_is_searched() -> None:
    point = {"rate": 1e-3, "batch": 128, "step": "batch"}

    assert in_unit_cube([point], DISTRIBUTIONS)[0] == pytest.approx([0.5, 0.5, 1.0])


def test_in_unit_cube_of_three_words_has_a_column_for_all_but_equal_places() -> None:
    words = {"loss": CategoricalDistribution(["l1", "l2", "ssim"])}

    rows = in_unit_cube([{"loss": word} for word in ("l1", "l2", "ssim")], words)

    assert rows.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_points_at_shares_are_values_of_the_domains() -> None:
    (point,) = points_at([[0.5, 0.99, 0.0]], DISTRIBUTIONS)

    assert point == {"rate": pytest.approx(1e-3), "batch": 256, "step": "epoch"}


def test_grid_has_every_choice_and_so_many_levels() -> None:
    assert len({tuple(point.values()) for point in grid(DISTRIBUTIONS, 4)}) == 4 * 3 * 2
