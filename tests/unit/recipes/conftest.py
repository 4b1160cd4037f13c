"""What tests of detectors share: a cache of their own, more images, a model that tells classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from study.data.roles import StudyData
from study.recipes.registry import make_recipe
from study.training.loop import Goal, train
from tests.toys import SIZE, toy_data, train_section


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def more_data() -> StudyData:
    """Enough training images for a covariance of 64 features."""
    return toy_data(num_train=120)


@pytest.fixture(scope="session")
def base(more_data: StudyData) -> nn.Module:
    """A few steps of training on them, so that every class is told at times; not to be changed."""
    recipe = make_recipe("classifier", train_section(lr=0.1, epochs=3))
    model = recipe.build_model("resnet20", 3, dropout=0.0, image_size=SIZE, seed=0)
    goal, cpu = Goal("val/id_accuracy", None), torch.device("cpu")
    for _ in train(recipe, model, more_data, seed=0, goal=goal, device=cpu):
        pass
    return model
