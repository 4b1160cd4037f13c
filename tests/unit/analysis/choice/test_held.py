from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.choice.held import expected_shortfall, held_text, held_trials, with_held
from analysis.choice.selection import rank_candidates
from study.scoring.objective import FLOOR_HOLDS
from tests.fake_run import Fake, make_run


def test_expected_shortfall_is_that_of_draws() -> None:
    rng = np.random.default_rng(0)
    for margin, error in ((0.01, 0.01), (-0.02, 0.01), (0.0, 0.005)):
        drawn = np.maximum(0, -rng.normal(margin, error, 400_000)).mean()
        assert expected_shortfall(margin, error) == pytest.approx(drawn, rel=0.01)
    assert expected_shortfall(0.01, 0.0) == 0
    assert expected_shortfall(-0.01, 0.0) == 0.01


def test_held_trials_of_an_older_run_are_judged_from_the_scores(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    new = held_trials(analysis.load(tmp_path))
    trials = pd.read_parquet(run.trials)
    trials.drop(columns=[FLOOR_HOLDS, "val/floor_shortfall"]).to_parquet(run.trials)
    old = held_trials(analysis.load(tmp_path))
    pd.testing.assert_frame_equal(old, new)
    assert new["holds"].between(0, 1).all()
    (run.trial_scores("00000")).unlink()
    assert held_trials(analysis.load(tmp_path)).set_index("trial_id")["holds"].isna()["00000"]


def test_held_trials_without_a_floor_are_none(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(num_id=30, below_base=None))
    study = analysis.load(tmp_path)
    assert held_trials(study).empty
    assert with_held(study, rank_candidates(study))["floor_holds"].isna().all()


def test_held_text_says_what_is_known() -> None:
    assert held_text(0.934, 0.00042) == (
        "The floor holds with a probability of 93.4 %; expected shortfall 0.04 points"
    )
    assert held_text(0.934, float("nan")) == "The floor holds with a probability of 93.4 %"
    assert held_text(float("nan"), float("nan")) == ""
