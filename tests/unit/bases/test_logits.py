"""study.bases.logits: computed once, known by all that changes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from study.bases.logits import logits_of
from study.bases.training import BaseSpec
from study.data.images import ImageSet
from study.recipes.classifier_params import ClassifierParams
from study.records.cache import cache_folder
from tests.toys import toy_data, toy_images, train_section

CPU = torch.device("cpu")


@pytest.fixture
def images() -> ImageSet:
    return toy_images("val_id", 12, classes=3)


def network(seed: int) -> nn.Module:
    params = ClassifierParams.model_validate(train_section())
    return BaseSpec("resnet20", 0.0, params.model_dump(), seed).fresh_model(toy_data())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path))
    return cache_folder() / "logits"


def kept(cache: Path) -> int:
    return len(list(cache.glob("*.npy")))


def test_logits_from_the_cache_are_those_that_were_computed(cache: Path, images: ImageSet) -> None:
    model = network(0)
    first = logits_of(model, images, CPU)
    assert first.shape == (12, 3)
    assert torch.equal(logits_of(model, images, CPU), first)
    assert kept(cache) == 1


def test_other_weights_and_other_images_have_logits_of_their_own(
    cache: Path, images: ImageSet
) -> None:
    one = logits_of(network(0), images, CPU)
    assert not torch.equal(logits_of(network(1), images, CPU), one)
    logits_of(network(0), images.take(range(6)), CPU)
    assert kept(cache) == 3
