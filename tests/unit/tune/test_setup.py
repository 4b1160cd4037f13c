from __future__ import annotations

from dataclasses import replace

import pytest

from study.data.roles import KeptPart
from study.recipes.detector_params import FIELDS
from study.space.loading import load_space
from study.tune.record import TrialRecord
from tests.toys import toy_data, toy_images, toy_setup

CONFIRM = "select.confirm={top: 3, seeds: 3}"
POINT = {"lr": 0.1, "weight_decay": 1e-4, "batch_size": 64, "label_smoothing": 0.1}


@pytest.mark.parametrize(
    ("changes", "confirms", "kept"),
    [([CONFIRM], None, False), ([CONFIRM], 0, True), ([], None, True)],
    ids=["of a search that confirms", "of a confirmation", "of a search that confirms nothing"],
)
def test_assignment_of_a_trial_says_whether_it_is_scored_on_images_kept_apart(
    changes: list[str], confirms: int | None, kept: bool
) -> None:
    spec = load_space("cifar10", ["data.confirm_fraction=0.3", *changes])
    part = KeptPart(toy_images("kept", 18, classes=3, seed=5), {})
    point = {f"train.{name}": value for name, value in POINT.items()}
    record = TrialRecord(1, 0, point | {"train.schedule": "cosine"}, confirms=confirms)
    setup = toy_setup(spec, replace(toy_data(), kept=part))
    assert setup.assign(record).kept is kept
    assert not toy_setup(spec).assign(record).kept


@pytest.mark.parametrize(
    ("changes", "there"),
    [([], set()), (["train.detectors=[knn]"], {"train.knn_k"})],
    ids=["without detectors", "with one"],
)
def test_params_hold_the_settings_of_detectors_that_the_study_has(
    changes: list[str], there: set[str]
) -> None:
    point = {f"train.{name}": value for name, value in POINT.items()}
    record = TrialRecord(0, 0, point | {"train.schedule": "cosine"})
    params = toy_setup(load_space("cifar10", changes)).params(record)
    assert {f"train.{name}" for name in FIELDS} & set(params) == there
