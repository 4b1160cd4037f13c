from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from study.bases import training as base_training
from study.bases.initial import bring_initial
from study.bases.training import BaseSpec, FoundBase, trained_base
from study.data.roles import StudyData, TrainID
from study.models.names import Network
from study.models.registry import build_classifier
from study.models.weights import save_weights
from study.recipes.base import Recipe
from study.recipes.classifier_params import ClassifierParams
from study.records.files import WEIGHTS
from study.training import loop as training
from study.training.checkpoint import save_checkpoint
from study.training.loop import TrainingState
from study.watch.progress import Progress
from tests.toys import toy_data, toy_images, train_section

CPU = torch.device("cpu")
Train = Callable[[Path], FoundBase]


def _spec(**changes: object) -> BaseSpec:
    params = ClassifierParams.model_validate(train_section(epochs=3))
    return replace(BaseSpec("resnet20", 0.0, params.model_dump(), 0), **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data() -> StudyData:
    return toy_data()


@pytest.fixture
def train(data: StudyData) -> Train:
    def train(cache: Path) -> FoundBase:
        return trained_base(
            _spec(),
            data,
            cache=cache,
            device=CPU,
            progress=Progress(io.StringIO(), live=False, quiet=True),
        )

    return train


def _same(one: FoundBase, two: FoundBase) -> bool:
    ours, theirs = one.model.state_dict(), two.model.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_base_that_starts_from_a_file_is_another_base_and_starts_there(
    data: StudyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_weights(build_classifier("resnet20", 5, seed=9), tmp_path / "w.safetensors")
    (start,) = bring_initial(["resnet20"], 8, dropout=0.0, file=tmp_path / "w.safetensors", seed=0)
    spec = _spec(init=str(tmp_path / "w.safetensors"))
    begun = []

    def note(_recipe: Recipe, model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        begun.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return training.train(_recipe, model, *args, **kwargs)

    monkeypatch.setattr(base_training, "train", note)
    trained_base(
        spec,
        data,
        cache=tmp_path / "cache",
        device=CPU,
        progress=Progress(io.StringIO(), live=False, quiet=True),
        start=start.weights,
    )
    assert all(np.array_equal(begun[0][name], one) for name, one in start.weights.items())
    assert begun[0]["fc.weight"].shape == (3, 64)
    keys = {one.key(data) for one in (spec, _spec(), _spec(network=Network("small", "half")))}
    assert len(keys) == 3


def test_base_is_trained_once_and_then_found(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(tmp_path)
    assert first.trained_now
    assert not first.saw_validation
    assert first.path == tmp_path / first.key / WEIGHTS
    assert sorted(p.name for p in first.path.parent.iterdir()) == ["base.json", "lock", WEIGHTS]

    def no_training(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(base_training, "train", no_training)
    second = train(tmp_path)
    assert not second.trained_now
    assert _same(first, second)


def test_base_that_was_cut_off_goes_on_to_the_same_bits(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole")
    epochs: list[int] = []

    def save(folder: Path, state: TrainingState) -> None:
        save_checkpoint(folder, state)
        epochs.append(state.epoch)
        if len(epochs) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(base_training, "save_checkpoint", save)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut")
    resumed = train(tmp_path / "cut")
    assert epochs == [1, 2, 3]
    assert resumed.trained_now
    assert _same(whole, resumed)


def test_base_cut_off_between_its_last_epoch_and_its_weights_is_made_whole(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole")

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(base_training, "save_weights", cut)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "cut")
    assert _same(whole, train(tmp_path / "cut"))


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"backbone": "resnet32"},
        {"dropout": 0.1},
        {"train": {**_spec().train, "weight_decay": 1e-3}},
    ],
)
def test_key_of_another_spec_differs(data: StudyData, changes: dict[str, object]) -> None:
    assert _spec().key(data) == _spec().key(data)
    assert _spec(**changes).key(data) != _spec().key(data)


def test_key_of_other_data_or_code_differs(
    data: StudyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = _spec().key(data)
    other = replace(data, train=TrainID(toy_images("train", 60, classes=3, seed=9)))
    assert _spec().key(other) != key
    assert _spec().key(replace(data, outliers=None)) == key  # a base sees no outliers
    monkeypatch.setattr(base_training, "code_version", lambda *_, **__: "other code")
    assert _spec().key(data) != key
