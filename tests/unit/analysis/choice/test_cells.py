"""Selections among the states of paths, and under a floor with a confidence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from simulated.studies import make_cells

import analysis
from analysis.__main__ import main
from analysis.choice.cells import Values, cells_of_study, pick, weighed
from analysis.choice.corrected import all_images, resamples
from analysis.choice.frozen import correct_choice
from analysis.choice.held import with_held
from analysis.choice.pareto import states_of
from analysis.choice.selection import NoSelection, place_of, rank_candidates, scores_at, select
from analysis.study import Study
from analysis.tables import BASE
from study.records.files import VAL_ID
from study.scoring.objective import ALPHA, FLOOR_HOLDS, ID_ACCURACY
from tests.fake_run import Fake, freeze, make_run

PATHS = Fake(
    statuses=("finished",) * 5 + ("pruned",) * 2,
    num_id=2000,
    below_base=0.003,
    seed=1,
    alphas=(0.25, 0.5, 0.75),
    penalty=0.2,
)


@pytest.fixture
def paths(tmp_path: Path) -> Study:
    make_run(tmp_path, PATHS)
    return analysis.load(tmp_path)


def test_selection_among_paths_takes_the_state_that_the_trial_stands_for(paths: Study) -> None:
    chosen = select(paths, 20)
    row = paths.trials.set_index("trial_id").loc[chosen.trial_id]
    assert chosen.place == (chosen.trial_id, row["checkpoint_epoch"], row[ALPHA])
    assert 0 < chosen.alpha < 1
    assert place_of(paths, None) == place_of(paths, chosen.trial_id) == chosen.place
    one = scores_at(paths, *chosen.place)["val_id"]
    right = (one.prediction[0] == one.label).mean()
    assert right == chosen.candidates[ID_ACCURACY].iloc[0]
    assert "best place there on the path" in chosen.rule


def test_states_of_other_epochs_than_the_chosen_are_as_trained(paths: Study) -> None:
    chosen = select(paths, 1)
    other = 1 if chosen.epoch != 1 else 2
    assert place_of(paths, chosen.trial_id, other) == (chosen.trial_id, other, 1.0)


@pytest.mark.parametrize("fake", [PATHS, replace(PATHS, confidence=0.9)], ids=["plain", "sure"])
def test_cells_of_paths_pick_what_the_tables_tell(tmp_path: Path, fake: Fake) -> None:
    make_run(tmp_path, fake)
    study = analysis.load(tmp_path)
    names = [str(name) for name in study.trials["trial_id"]]
    cells = cells_of_study(study, names)
    assert len(cells.trial) == len(study.states)
    values = weighed(cells, iter([all_images(cells)]))
    states = study.states.sort_values(["trial_id", "epoch", ALPHA], ascending=[True, True, False])
    assert values.holds[:, 0] == pytest.approx(states[FLOOR_HOLDS].to_numpy(), abs=1e-6)
    told = states["val/floor_shortfall"].to_numpy()
    assert values.shortfall[:, 0] == pytest.approx(told, abs=1e-6)
    assert values.objective[:, 0] == pytest.approx(states["val/objective"].to_numpy(), abs=1e-5)
    picked = pick(cells, values).cell[:, 0]
    rows = study.trials.set_index("trial_id").loc[names]
    assert cells.epoch[picked].tolist() == rows["checkpoint_epoch"].tolist()
    assert cells.alpha[picked].tolist() == rows[ALPHA].tolist()


def test_correction_of_a_path_counts_every_state(paths: Study) -> None:
    chosen = select(paths, 1)
    found = correct_choice(paths, 20, selection=chosen)
    assert found.value == pytest.approx(chosen.value)
    finished = paths.trials[paths.trials["status"] == "finished"]["trial_id"]
    assert found.num_cells == paths.states["trial_id"].isin(finished).sum()


def test_frozen_choice_of_a_path_names_the_place_and_is_frozen_once(paths: Study) -> None:
    frozen = freeze(paths)
    chosen = select(paths, 1)
    assert (frozen["alpha"], frozen["winner_alpha"]) == (chosen.alpha, chosen.alpha)
    assert frozen["corrected_value"] is not None
    assert freeze(paths)["sha256"] == frozen["sha256"]
    assert frozen["floor_holds"] == frozen["candidates"][0]["floor_holds"]
    assert 0 <= frozen["floor_shortfall"] < 0.01


def test_confidence_selects_among_those_that_hold_the_floor_with_it(tmp_path: Path) -> None:
    make_run(tmp_path, replace(PATHS, confidence=0.9))
    study = analysis.load(tmp_path)
    ranked = rank_candidates(study)
    assert (ranked["passes_floor"] == (ranked[FLOOR_HOLDS] >= 0.9)).all()
    chosen = select(study, 20)
    assert with_held(study, chosen.candidates)["floor_holds"].iloc[0] >= 0.9
    assert "held with a probability of 0.9" in chosen.rule
    assert correct_choice(study, 20, selection=chosen).value == pytest.approx(chosen.value)
    plain = tmp_path / "plain"
    make_run(plain, PATHS)
    assert select(analysis.load(plain), 1).value <= chosen.value


def test_confidence_that_nobody_has_is_told_with_the_nearest(tmp_path: Path) -> None:
    make_run(
        tmp_path, Fake(statuses=("finished",) * 3, num_id=400, below_base=-0.01, confidence=0.99)
    )
    with pytest.raises(NoSelection, match=r"with a probability of 0\.99.*likely to hold"):
        select(analysis.load(tmp_path), 1)


def test_probability_that_the_floor_holds_is_the_share_of_the_resamples(paths: Study) -> None:
    """The one number that is told is what the resamples of the correction say too."""
    cells = cells_of_study(paths, [str(name) for name in paths.trials["trial_id"]])
    told = weighed(cells, iter([all_images(cells)])).holds[:, 0]
    drawn = weighed(cells, resamples(cells, 1000, seed=0))
    margin = drawn.accuracy - drawn.floor
    # A share of ties counts half: the accuracy of so many images moves in steps.
    share = (margin > 1e-9).mean(axis=1) + 0.5 * (np.abs(margin) <= 1e-9).mean(axis=1)
    trained = cells.alpha > 0
    assert np.abs(told - share)[trained].max() < 0.06


def test_front_of_paths_is_over_every_state_of_the_finished(paths: Study) -> None:
    states = states_of(paths, ("val/fpr95", ID_ACCURACY))
    finished = paths.trials[paths.trials["status"] == "finished"]["trial_id"]
    assert set(states["trial_id"]) == set(finished)
    front = paths.front(num_resamples=20)
    assert (front.table["alpha"] < 1).any()
    assert front.table["chosen"].sum() <= 1
    assert np.isfinite(front.table["on_front"]).any()
    best = states.loc[states["val/fpr95"].idxmin()]
    assert front.table["val/fpr95"].min() == best["val/fpr95"]


def test_base_that_wins_is_told(paths: Study, capsys: pytest.CaptureFixture[str]) -> None:
    trials = pd.read_parquet(paths.folder.trials)
    states = paths.states
    for i, name in enumerate(trials["trial_id"]):
        start = states[(states["trial_id"] == name) & (states[ALPHA] == 0)].iloc[0]
        for column in start.index.drop(["trial_id", "epoch"]):
            trials.loc[i, column] = start[column]
        trials.loc[i, "checkpoint_epoch"] = 1
    trials.to_parquet(paths.folder.trials)
    assert main(["select", str(paths.folder.path)]) == 0
    out = capsys.readouterr().out
    assert "alpha 0" in out
    assert "Nothing beat the base" in out
    content = json.loads((paths.folder.path / "selection.json").read_text())
    assert content["alpha"] == 0


def test_objective_of_a_cell_at_the_floor_is_its_cost() -> None:
    cost, accuracy = np.array([[0.3], [0.2]]), np.array([[0.9], [0.8]])
    values = Values(cost, accuracy, np.array([0.9]), np.zeros((2, 1)))
    assert values.objective.ravel().tolist() == pytest.approx([0.3, 1.1])


def test_pick_where_none_holds_the_floor_takes_the_nearest_to_it() -> None:
    cells = make_cells(np.random.default_rng(0), (2.5, 1.0, 1.0), correlated=0.3, epochs=1)
    right = np.ones_like(cells.correct)
    right[0, ::4] = right[1, ::10] = right[2, ::5] = False
    cells = replace(cells, correct=right, floor=0.95)
    picks = pick(cells, weighed(cells, iter([all_images(cells)])))
    assert picks.winner.tolist() == [1]


def test_cells_of_a_study_have_the_bases_right_predictions(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(statuses=("finished",), num_id=60))
    study = analysis.load(tmp_path)
    cells = cells_of_study(study, ["00000"])
    base = study.scores(BASE).sets[VAL_ID]
    assert cells.base_correct is not None
    assert cells.base_correct.tolist() == (base.prediction[-1] == base.label).tolist()
    assert cells.below_base == pytest.approx(0.01)
