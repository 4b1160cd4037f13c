"""analysis.choice.screened: what is left out of many states, and that it changes no choice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.choice import screened as of_states
from analysis.choice.alternatives import alternatives, cells_of_rules, stability
from analysis.choice.cells import cells_of_study
from analysis.choice.corrected import Correction, correct
from analysis.choice.frozen import correct_choice
from analysis.choice.screened import on_record, screened
from analysis.choice.selection import select
from analysis.results.budget import budget_of
from analysis.results.floor import floor_prices
from analysis.study import Study
from tests.fake_run import Fake, make_run

MANY = Fake(statuses=("finished",) * 24, ood_sets={"near": (150, 1), "far": (150, 1)})
PATHS = Fake(statuses=("finished",) * 12, epochs=3, alphas=(0.25, 0.5, 0.75))
MOST = 32


@pytest.fixture(scope="module", params=[MANY, PATHS], ids=["epochs", "paths"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return analysis.load(make_run(tmp_path_factory.mktemp("many"), request.param).path)


def of_all(study: Study, seed: int) -> Correction:
    cells = cells_of_study(study, select(study, 1).compared)
    return correct(cells, num_resamples=200, seed=seed)


def test_states_on_record_are_those_of_the_scores(study: Study) -> None:
    names = select(study, 1).compared
    table, cells = on_record(study, names), cells_of_study(study, names)
    assert table is not None
    assert table["epoch"].tolist() == cells.epoch.tolist()
    np.testing.assert_array_equal(table["alpha"], cells.alpha)
    told = table["error"].notna() & (cells.errors > 0.002)  # smaller ones are bounded alone
    np.testing.assert_allclose(table["error"][told], cells.errors[told])


def test_states_on_record_of_a_study_by_accuracy_cost_what_they_lack(study: Study) -> None:
    by_accuracy = replace(study, spec={**study.spec, "select": {"metric": "val/id_accuracy"}})
    table = on_record(by_accuracy, select(study, 1).compared)
    assert table is not None
    np.testing.assert_allclose(table["cost"], 1 - table["accuracy"])


def test_few_states_are_all_read(study: Study) -> None:
    assert screened(study, select(study, 1).compared) is None


def test_correction_of_screened_states_is_that_of_all_within_the_noise_of_its_draws(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = [of_all(study, seed) for seed in range(6)]
    monkeypatch.setattr(of_states, "MOST", MOST)
    found = correct_choice(study, 200)
    assert (found.trial_ids, found.value) == (plain[0].trial_ids, plain[0].value)
    assert (found.num_candidates, found.num_cells) == (plain[0].num_candidates, plain[0].num_cells)
    assert found.num_read == MOST
    ends = (lambda one: one.corrected, lambda one: one.interval.low, lambda one: one.interval.high)
    for of in ends:
        values = [of(one) for one in plain]
        assert abs(of(found) - np.mean(values)) <= 3 * np.std(values, ddof=1) + 1e-3
    assert "32 that come nearest to the choice" in found.how


def test_scores_that_are_left_out_are_not_read(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = select(study, 1).compared
    monkeypatch.setattr(of_states, "MOST", MOST)
    states = screened(study, names)
    assert states is not None
    cells = cells_of_study(study, names, states=states)
    assert len(cells.trial) == len(states) == MOST
    assert set(cells.trial_ids) < set(names)


def test_budget_and_prices_of_screened_states_are_near_those_of_all(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget, prices = budget_of(study, 20), floor_prices(study, 20)
    monkeypatch.setattr(of_states, "MOST", MOST)
    fewer, cheaper = budget_of(study, 20), floor_prices(study, 20)
    last = fewer.table.iloc[-1][["seen", "other"]] - budget.table.iloc[-1][["seen", "other"]]
    assert last.abs().max() < 0.01
    assert (cheaper.trials, cheaper.above, cheaper.sure) == (
        prices.trials,
        prices.above,
        prices.sure,
    )
    here = ["step", "trials", "trial_id", "epoch"]
    assert cheaper.table[here].equals(prices.table[here])


def test_alternatives_of_screened_states_choose_as_of_all(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    every, _ = cells_of_rules(study)
    monkeypatch.setattr(of_states, "MOST", MOST)
    some, _ = cells_of_rules(study)
    assert len(some.trial) < len(every.trial)
    plain, fewer = (alternatives(one, num_splits=10) for one in (every, some))
    chosen = ["rule", "trial_id", "epoch", "alpha", "value", "id_accuracy"]
    pd.testing.assert_frame_equal(fewer[chosen], plain[chosen])
    # On halves many states are equally accurate, and the first of those that were read is taken.
    rest = [rule for rule in fewer["rule"] if rule != "ID accuracy"]
    means = ["held_back", "floor_kept", *(f"regret/{rule}" for rule in rest)]
    apart = fewer.set_index("rule")[means] - plain.set_index("rule")[means]
    assert apart.loc[rest].abs().to_numpy().max() < 0.01
    stable, left = (stability(one, num_resamples=20) for one in (every, some))
    pd.testing.assert_frame_equal(left, stable)


def test_study_without_a_floor_is_screened_by_its_metric_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(statuses=("finished",) * 6, epochs=2, num_id=100, below_base=None)
    study = analysis.load(make_run(tmp_path, fake).path)
    monkeypatch.setattr(of_states, "MOST", 4)
    states = screened(study, select(study, 1).compared)
    assert states is not None
    best = study.epochs.nsmallest(4, study.metric)
    assert set(zip(states["trial_id"], states["epoch"], strict=True)) == set(
        zip(best["trial_id"], best["epoch"], strict=True)
    )
