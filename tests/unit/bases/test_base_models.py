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

from study.bases import base_models
from study.bases.base_models import BaseModel, BaseSpec, code_version, loaded_base, trained_base
from study.bases.initial import bring_initial
from study.data.roles import StudyData, TrainID
from study.errors import BadInput
from study.models.names import Network
from study.models.registry import build_classifier
from study.models.weights import load_weights, save_weights
from study.recipes.base import Recipe
from study.recipes.catalog import RECIPE_INFOS
from study.recipes.registry import make_recipe
from study.records.files import WEIGHTS
from study.training import loop as training
from study.training.checkpoint import save_checkpoint
from study.training.loop import TrainingState
from study.watch.progress import Progress
from tests.toys import toy_data, toy_images, train_section

CPU = torch.device("cpu")
Train = Callable[[Path], BaseModel]


def _spec(**changes: object) -> BaseSpec:
    params = RECIPE_INFOS["classifier"].params.model_validate(train_section(epochs=3))
    return replace(BaseSpec("resnet20", 0.0, params.model_dump(), 0), **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data() -> StudyData:
    return toy_data()


@pytest.fixture
def train(data: StudyData) -> Train:
    def train(cache: Path) -> BaseModel:
        return trained_base(
            _spec(),
            data,
            cache=cache,
            device=CPU,
            progress=Progress(io.StringIO(), live=False, quiet=True),
            scored_by=make_recipe("energy", train_section("energy")),
        )

    return train


def _same(one: BaseModel, two: BaseModel) -> bool:
    weights = all(np.array_equal(one.weights[name], two.weights[name]) for name in one.weights)
    return weights and one.metrics == two.metrics and torch.equal(one.id_logits, two.id_logits)


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

    monkeypatch.setattr(base_models, "train", note)
    trained_base(
        spec,
        data,
        cache=tmp_path / "cache",
        device=CPU,
        progress=Progress(io.StringIO(), live=False, quiet=True),
        scored_by=make_recipe("energy", train_section("energy")),
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

    monkeypatch.setattr(base_models, "train", no_training)
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

    monkeypatch.setattr(base_models, "save_checkpoint", save)
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
        patch.setattr(base_models, "save_weights", cut)
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
    monkeypatch.setattr(base_models, "code_version", lambda backbone: "other code")
    assert _spec().key(data) != key


def test_code_version_is_of_the_training_code_and_the_backbones_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = code_version("resnet20")
    assert code_version("resnet20") == whole
    assert code_version("resnet56") == whole  # of the same file
    assert code_version("wrn_16_2") != whole
    for left_out in base_models._CODE:
        rest = tuple(name for name in base_models._CODE if name != left_out)
        with monkeypatch.context() as patch:
            patch.setattr(base_models, "_CODE", rest)
            assert code_version("resnet20") != whole


def test_base_is_measured_on_validation_id_and_outliers(train: Train, tmp_path: Path) -> None:
    base = train(tmp_path)
    assert base.outlier_logits is not None
    assert base.id_logits.shape == (30, 3)
    assert base.outlier_logits.shape == (40, 3)
    stats = base.energy_stats(2.0)
    assert stats is not None
    energies = -2.0 * np.log(np.exp(base.id_logits.double().numpy() / 2.0).sum(axis=1))
    assert stats.id_mean == pytest.approx(energies.mean())
    assert stats.id_sd == pytest.approx(energies.std(ddof=1), rel=0.05)
    own = -base.scores.sets["val_id"].scores["energy"][0]
    np.testing.assert_allclose(-own, -np.logaddexp.reduce(base.id_logits.numpy(), axis=1), 1e-5)


def test_base_without_outliers_has_no_energy_statistics(train: Train, tmp_path: Path) -> None:
    assert replace(train(tmp_path), outlier_logits=None).energy_stats(1.0) is None


def test_loaded_base_may_have_seen_the_validation_images(
    train: Train, data: StudyData, tmp_path: Path
) -> None:
    base = train(tmp_path)
    weights, _ = load_weights(base.path)
    scored_by = make_recipe("energy", train_section("energy"))
    loaded = loaded_base(base.path, _spec(), weights, data, device=CPU, scored_by=scored_by)
    assert loaded.saw_validation
    assert not loaded.trained_now
    assert _same(base, loaded)
    weights.pop("fc.bias")
    with pytest.raises(BadInput, match=r"fc\.bias"):
        loaded_base(base.path, _spec(), weights, data, device=CPU, scored_by=scored_by)
