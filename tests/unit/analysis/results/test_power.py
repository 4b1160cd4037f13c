"""analysis.results.power: seeds for a difference, from a spread that was measured."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import analysis
from analysis.results.power import (
    MOST,
    Spread,
    measured_spread,
    power_of,
    power_table,
    seeds_needed,
)
from study.errors import BadInput
from tests.fake_ablation import make_ablation
from tests.fake_confirm import FAKE, confirm
from tests.fake_run import make_run

SHIFT = {"energy_weight=0": (0.10, 0.20, 0.30), "energy_weight=0.3": (0.0, 0.1, 0.2)}


@pytest.mark.parametrize(("effect", "seeds"), [(0.5, 34), (1.0, 10)])
def test_seeds_needed_are_those_of_cohens_tables(effect: float, seeds: int) -> None:
    # Cohen 1988: d = 0.5 and 1.0, two-sided 5 %, power 80 %, one sample (G*Power agrees).
    assert seeds_needed(effect * 0.02, 0.02) == seeds
    assert power_of(seeds, effect, 1.0) >= 0.8 > power_of(seeds - 1, effect, 1.0)


def test_difference_that_no_number_of_seeds_shows_ends() -> None:
    assert seeds_needed(1e-6, 1.0) == MOST + 1


def test_power_without_a_difference_is_the_level_of_the_test() -> None:
    assert power_of(8, 0.0, 1.0) == pytest.approx(0.05)


def test_spread_of_an_ablation_is_pooled_over_its_arms(tmp_path: Path) -> None:
    make_ablation(tmp_path, lambda arm, seed: 0.3 + SHIFT.get(arm, (0.0, 0.1, -0.1))[seed])
    spread = measured_spread(analysis.load(tmp_path), "val/fpr95")
    assert spread.freedom % 2 == 0
    assert spread.low < spread.sd < spread.high
    assert "paired differences" in spread.how


def test_spread_of_a_confirmation_is_that_of_two_runs(tmp_path: Path) -> None:
    run = make_run(tmp_path, FAKE)
    confirm(run, {0: [(0.8, 1.5), (0.8, 2.0), (0.8, 2.5)]})
    study = analysis.load(tmp_path)
    spread = measured_spread(study)
    one = study.confirming[study.metric].std(ddof=1)
    assert spread.sd == pytest.approx(math.sqrt(2) * one)
    assert spread.freedom == 2


def test_study_of_one_seed_has_no_spread_and_is_told_what_has(tmp_path: Path) -> None:
    make_run(tmp_path, FAKE)
    with pytest.raises(BadInput, match=r"enough seeds .* Run an ablation"):
        measured_spread(analysis.load(tmp_path))


def test_table_gives_more_seeds_for_less_and_for_more_spread() -> None:
    table = power_table(Spread(0.02, 6, 0.01, 0.04, ""), (0.01, 0.02, 0.05))
    assert table["seeds"].is_monotonic_decreasing
    assert (table["seeds_low"] <= table["seeds"]).all()
    assert (table["seeds"] <= table["seeds_high"]).all()
