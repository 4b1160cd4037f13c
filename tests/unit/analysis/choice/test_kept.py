from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import analysis
from analysis.choice.kept import kept_apart
from analysis.choice.selection import select
from analysis.results.budget import APART, budget_of
from analysis.study import Study
from study.records.files import RunFolder
from study.records.manifest import read_manifest
from study.records.scores import add_epoch
from tests.fake_run import Fake, make_run, make_scores, metrics_of, write_json

SEARCHED = Fake(statuses=("finished",) * 5, below_base=0.05, alphas=(0.5,), penalty=0.2)
APART_FROM_IT = replace(SEARCHED, num_id=90, seed=7, ood_sets={"objects_val": (80, 8)})


def keep_apart(run: RunFolder, separations: list[float]) -> Study:
    """Score each trial of a run on other images, as if it separated so there."""
    trials = pd.read_parquet(run.trials)
    for i, separation in enumerate(separations):
        name, epoch = trials["trial_id"][i], int(trials["checkpoint_epoch"][i])
        scores = make_scores(APART_FROM_IT, f"{name} apart", [(0.8, separation)])
        alpha = float(trials["val/alpha"][i])
        place = {"epochs": np.array([epoch], np.int32), "alphas": np.array([alpha])}
        add_epoch(run, name, replace(scores, **place), kept=True)
        for metric, value in metrics_of(scores, 0).items():
            trials.loc[i, metric.replace("val/", "confirm/", 1)] = value
    trials.to_parquet(run.trials)
    manifest = read_manifest(run)
    sizes = {"confirm_id": 90, "confirm_ood/objects_val": 80}
    manifest["data"]["roles"] |= {role: {"num_images": num} for role, num in sizes.items()}
    write_json(run.manifest, manifest)
    return analysis.load(run.path)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path, SEARCHED)


def test_choice_is_told_on_the_images_kept_apart(run: RunFolder) -> None:
    study = keep_apart(run, [1.5, 1.6, 1.7, 1.8, 1.9])
    chosen = select(study, 20)
    told = kept_apart(study, chosen)
    assert told is not None
    row = study.trials.set_index("trial_id").loc[chosen.trial_id]
    assert told.value == row["confirm/fpr95"] != chosen.value
    assert told.images == {"val_id": 90, "objects_val": 80}
    assert told.interval is not None
    low, high = told.interval
    assert low < told.value < high
    assert "90 of val_id and 80 of objects_val" in told.text
    assert told.plain()["interval"] == [low, high]


def test_images_that_are_kept_to_confirm_tell_nothing_of_the_search(run: RunFolder) -> None:
    study = keep_apart(run, [1.5] * 5)
    spec = yaml.safe_load(run.spec.read_text())
    spec["select"]["confirm"] = {"top": 3, "seeds": 3}
    study = replace(study, spec=spec)
    assert kept_apart(study, select(study, 1)) is None


def test_choice_without_images_kept_apart_has_nothing_to_tell(run: RunFolder) -> None:
    study = analysis.load(run.path)
    assert kept_apart(study, select(study, 1)) is None


def test_budget_on_images_kept_apart_shows_what_search_lost_there(run: RunFolder) -> None:
    """The better a trial looks in the search, the worse it is apart: overtuning as such."""
    order = analysis.load(run.path).trials["val/fpr95"].rank().astype(int)
    study = keep_apart(run, [0.5 + 0.5 * rank for rank in order])
    budget = budget_of(study)
    assert budget.where == APART
    assert (np.diff(budget.table["seen"]) <= 1e-12).all()
    assert budget.best < 5
    assert budget.lost[1] > 0
    assert "Overtuning" in budget.text
