"""study.bases.evaluations: computed once, known by all that changes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from study.bases.evaluations import evaluation_of
from study.bases.training import BaseSpec
from study.data.roles import StudyData
from study.recipes.classifier_params import ClassifierParams
from study.recipes.registry import make_recipe
from study.records.cache import cache_folder
from study.training.evaluation import Evaluation
from tests.toys import toy_data, train_section

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data() -> StudyData:
    return toy_data()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path))
    return cache_folder() / "evaluations"


def network(data: StudyData, seed: int = 0) -> nn.Module:
    params = ClassifierParams.model_validate(train_section())
    return BaseSpec("resnet20", 0.0, params.model_dump(), seed).fresh_model(data)


def evaluated(data: StudyData, *, seed: int = 0, **changes: object) -> Evaluation:
    recipe = make_recipe("energy", train_section("energy", detectors=["knn"], **changes))
    return evaluation_of(recipe, network(data, seed), data, CPU)


def kept(cache: Path) -> int:
    return len(list(cache.glob("*.npz")))


def test_evaluation_from_the_cache_is_the_one_that_was_computed(
    cache: Path, data: StudyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluated(data)
    monkeypatch.delattr("study.bases.evaluations.evaluate")
    again = evaluated(data)
    assert again.metrics("energy") == first.metrics("energy")
    assert first.fitted
    assert again.fitted.keys() == first.fitted.keys()
    assert all(torch.equal(again.fitted[name], one) for name, one in first.fitted.items())
    for name, one in first.as_epoch(1).of_states().items():
        np.testing.assert_array_equal(again.as_epoch(1).of_states()[name], one)
    assert kept(cache) == 1


def test_other_weights_images_and_parameters_have_evaluations_of_their_own(
    cache: Path, data: StudyData
) -> None:
    evaluated(data)
    evaluated(data, seed=1)
    evaluated(toy_data(80))
    evaluated(data, temperature=2.0)
    assert kept(cache) == 4


def test_damaged_evaluation_is_made_anew(cache: Path, data: StudyData) -> None:
    first = evaluated(data)
    (file,) = cache.glob("*.npz")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert evaluated(data).metrics("energy") == first.metrics("energy")
