from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.choice.cells import NoScores
from analysis.results.floor import STEP, STEPS, FloorPrices, floor_prices
from tests.fake_run import Fake, make_run


def test_floor_prices_have_a_row_a_floor_and_no_price_for_the_own_one(tmp_path: Path) -> None:
    make_run(tmp_path)
    prices = floor_prices(analysis.load(tmp_path), num_splits=20)
    table = prices.table.set_index("step")
    assert table.index.tolist() == [step * STEP for step in STEPS]
    assert table.loc[0.0, ["gain", "gain_low", "gain_high"]].tolist() == [0, 0, 0]
    assert (np.diff(table["trials"]) >= 0).all()
    assert (np.diff(table["seen"].dropna()) <= 0).all()
    assert prices.trials == 8
    assert prices.below_base == pytest.approx(0.01)


def test_floor_prices_of_stopped_trials_count_too(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(statuses=("pruned",) * 5))
    assert floor_prices(analysis.load(tmp_path), num_splits=5).trials == 5


def test_floor_prices_without_a_floor_are_refused(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(num_id=30, below_base=None))
    with pytest.raises(NoScores, match="no floor"):
        floor_prices(analysis.load(tmp_path))


def _prices(gain: float, **changes: Any) -> FloorPrices:
    rows = [
        {"step": -0.005 * k, "gain": k * gain, "gain_low": k * gain - 0.01, "gain_high": k * gain}
        for k in range(5)
    ]
    told: dict[str, Any] = {"trials": 12, "above": 2, "sure": 1, "error": 0.002, "floor": 0.91}
    told |= {"metric": "val/fpr95", "below_base": 0.01}
    return FloorPrices(table=pd.DataFrame(rows), **told | changes)


def test_tight_floor_is_told_with_the_next_one_that_surely_buys_something() -> None:
    told = _prices(0.04).lines
    assert told[0].startswith("Your floor is tight: 2 of 12 trials came above the floor")
    assert "−0.5: 4.0 [+3.0, +4.0], −1.0: 8.0 [+7.0, +8.0]" in told[1]
    assert "If 0.5 points of ID accuracy may be given: " in told[-1]
    assert "floor: {id_accuracy: {below_base: 0.015}}" in told[-1]


def test_tight_floor_whose_lowering_buys_nothing_is_told_so() -> None:
    assert "A lower floor would buy nothing sure." in _prices(0.001).lines[-1]


def test_absolute_floor_is_lowered_as_such() -> None:
    told = _prices(0.04, below_base=None).lines
    assert "floor: {id_accuracy: {at_least: 0.905}}" in told[-1]


def test_floor_that_the_images_cannot_measure_is_told() -> None:
    told = _prices(0.04, error=0.02).lines
    assert any(
        "1.0 points below the base" in line and "is 2.0: these images" in line for line in told
    )


def test_floor_that_many_reach_is_not_tight() -> None:
    wide = _prices(0.04, above=6)
    assert not wide.tight
    assert len(wide.lines) == 2
