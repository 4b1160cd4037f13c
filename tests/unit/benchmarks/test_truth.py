from __future__ import annotations

import numpy as np
import pytest
from replay.table import table_of
from replay.truth import Seen, Truth

from tests.fake_table import BASE_FPR95, fake_rows, fake_space


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth(table_of(fake_rows(), fake_space()))


def test_truth_of_recorded_points_is_near_what_was_recorded(truth: Truth) -> None:
    states = truth.at(truth.table.points)

    assert np.abs(states.fpr95 - truth.table.truth["fpr95"]).max() < 0.02
    assert (states.fpr95[..., 0] == BASE_FPR95).all()


def test_left_out_error_of_a_smooth_table_is_small_beside_its_spread(truth: Truth) -> None:
    told = truth.left_out()["fpr95"]

    assert told.error < told.spread / 3


def test_seen_differs_from_the_truth_by_the_resample_of_the_seed(truth: Truth) -> None:
    seen = Seen(truth, seed=3)

    of_point, true = seen.at(truth.table.points[0], number=0)

    assert seen.base_accuracy == pytest.approx(truth.table.base["accuracy"] + 0.003)
    gained = of_point.accuracy[-1, -1] - true.accuracy[-1, -1]
    assert gained == pytest.approx(0.003) or gained == pytest.approx(0.006)


def test_point_that_diverges_gives_what_the_nearest_that_did_gave() -> None:
    rows = fake_rows()
    high = rows["train.lr"] > rows["train.lr"].quantile(0.75)
    rows.loc[high & (rows["alpha"] == 1.0), ["accuracy", "accuracy_a"]] = 0.1
    table = table_of(rows, fake_space())
    fast, slow = (
        {**table.points[0], "train.lr": table.distributions["train.lr"].low * 166 ** share}
        for share in (1.0, 0.0)
    )  # fmt: skip

    truth = Truth(table)
    states = truth.at([fast, slow])

    assert states.accuracy[0, -1, -1] == pytest.approx(0.1, abs=0.01)
    assert states.accuracy[1, -1, -1] > 0.6
    assert truth.divergence_left_out()[1] == sum(
        point["train.lr"] > rows["train.lr"].quantile(0.75) for point in table.points
    )


def test_truth_of_trees_gives_recorded_points_as_they_were_recorded() -> None:
    table = table_of(fake_rows(), fake_space())

    states = Truth(table, trees=True).at(table.points)

    assert np.abs(states.fpr95 - table.truth["fpr95"]).max() < 0.002
