from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis
from analysis.results.importance import FANOVA, METHODS, PED_ANOVA, PERMUTATION, importance_notes
from analysis.results.importance import importance as importance_of
from analysis.statistics.surrogate import NOT_USED, as_codes, as_levels, enough_trials, space_of
from study.errors import BadInput
from tests.fake_run import make_run
from tests.fake_search import fake_search

DRAWS: dict[str, Any] = {
    "x": lambda rng: float(rng.uniform()),
    "dummy": lambda rng: float(rng.uniform()),
    "word": lambda rng: str(rng.choice(["a", "b", "c"])),
}


def _steep(params: Mapping[str, Any]) -> float:
    return 0.2 + 0.6 * float(params["x"]) ** 2


@pytest.mark.parametrize("seed", range(3))
def test_importance_tells_the_one_that_matters_from_dummies(seed: int) -> None:
    study = fake_search(_steep, DRAWS, 40, seed=seed)
    table = importance_of(study, methods=(FANOVA, PERMUTATION), num_resamples=8)
    sure = table[table["important"]]
    assert set(sure["parameter"]) == {"param/train.x"}
    assert table["parameter"].iloc[0] == "param/train.x"
    assert table["importance"].between(0, 1).all()


def test_importance_of_pure_noise_finds_nothing() -> None:
    rng = np.random.default_rng(5)
    study = fake_search(lambda _: float(rng.uniform()), DRAWS, 40)
    table = importance_of(study, num_resamples=8)
    assert not table["important"].any()
    assert "No parameter stands out" in " ".join(importance_notes(table))


@pytest.mark.slow
def test_dummies_come_out_as_important_in_less_than_one_study_of_twenty() -> None:
    wrong = right = 0
    for seed in range(40):
        study = fake_search(_steep, DRAWS, 40, seed=seed)
        noise = np.random.default_rng(seed + 1000).normal(scale=0.05, size=40)
        study.epochs["val/objective"] += noise
        table = importance_of(study, num_resamples=20)
        sure = table.groupby("parameter")["important"].sum() >= 2
        wrong += bool(sure["param/train.dummy"] or sure["param/train.word"])
        right += bool(sure["param/train.x"])
    assert wrong <= 2
    assert right >= 38


def test_importance_is_the_same_for_the_same_seed() -> None:
    study = fake_search(_steep, DRAWS, 20)
    one, two = (importance_of(study, num_resamples=2) for _ in range(2))
    assert one.equals(two)
    assert set(one["method"]) == set(METHODS)


def test_importance_of_few_trials_warns_with_the_rule() -> None:
    table = importance_of(fake_search(_steep, DRAWS, 20), methods=[PED_ANOVA], num_resamples=2)
    assert not table["enough"].any()
    assert "10 a parameter and at least 30" in importance_notes(table)[0]
    assert enough_trials(2) == 30
    assert enough_trials(8) == 80


@pytest.mark.parametrize(
    ("trials", "draws", "rule"),
    [(5, DRAWS, "only 5 trials can be compared"), (20, {"x": lambda _: 0.5}, "no parameter")],
)
def test_importance_without_enough_to_go_by_says_why(
    trials: int, draws: dict[str, Any], rule: str
) -> None:
    with pytest.raises(BadInput, match=rule):
        importance_of(fake_search(_steep, draws, trials))


def test_importance_of_an_unknown_metric_or_method_is_refused() -> None:
    study = fake_search(_steep, DRAWS, 20)
    with pytest.raises(BadInput, match="no epoch has a value"):
        importance_of(study, "val/aupr_in")
    with pytest.raises(BadInput, match="methods are"):
        importance_of(study, methods=["magic"])


def test_space_compares_all_trials_at_one_budget() -> None:
    study = fake_search(_steep, DRAWS, 40, epochs=3)
    cut = (study.epochs["epoch"] > 1) & (study.epochs["trial_id"] < "00012")
    space = space_of(replace(study, epochs=study.epochs[~cut]))
    assert (space.epoch, len(space.target)) == (1, 40)
    assert space.cost.min() == 0
    assert space.cost.max() == 1


def test_parameter_that_some_trials_lack_is_a_level_of_its_own() -> None:
    import pandas as pd

    values = pd.Series([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, np.nan])
    assert as_codes(values)[-1] == 0.0
    assert as_levels(values)[-1] == NOT_USED
    assert as_levels(pd.Series(["a", None])) == ["a", NOT_USED]


def test_report_of_few_trials_says_why_there_is_no_importance(tmp_path: Path) -> None:
    make_run(tmp_path)
    with pytest.raises(BadInput, match="fewer than 12"):
        analysis.load(tmp_path).importance()
