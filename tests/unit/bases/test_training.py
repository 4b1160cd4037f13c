from __future__ import annotations

import io
import json
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
from study.errors import BadInput
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
    (start,) = bring_initial(["resnet20"], 8, dropout=0.0, file=tmp_path / "w.safetensors")
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
    keys = {one.key(data, CPU) for one in (spec, _spec(), _spec(network=Network("small", "half")))}
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
        {"train": {**_spec().train, "precision": "bf16"}},
    ],
)
def test_key_of_another_spec_differs(data: StudyData, changes: dict[str, object]) -> None:
    assert _spec().key(data, CPU) == _spec().key(data, CPU)
    assert _spec(**changes).key(data, CPU) != _spec().key(data, CPU)


def test_key_holds_the_precision_that_the_device_computes_in(data: StudyData) -> None:
    asked = [_spec(train={**_spec().train, "precision": one}) for one in ("auto", "fp32")]
    assert len({one.key(data, CPU) for one in (_spec(), *asked)}) == 1


def test_key_of_other_data_or_code_differs(
    data: StudyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = _spec().key(data, CPU)
    other = replace(data, train=TrainID(toy_images("train", 60, classes=3, seed=9)))
    assert _spec().key(other, CPU) != key
    assert _spec().key(replace(data, outliers=None), CPU) == key  # a base sees no outliers
    monkeypatch.setattr(base_training, "code_version", lambda *_, **__: "other code")
    assert _spec().key(data, CPU) != key


def test_key_of_another_number_of_threads_differs(data: StudyData) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = _spec().key(data, CPU)
        torch.set_num_threads(2)
        assert _spec().key(data, CPU) != one
    finally:
        torch.set_num_threads(threads)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


def _folder(path: Path) -> None:
    path.unlink()
    (path / "below").mkdir(parents=True)


def _says(content: object) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(content))


def _of_another_name(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"key": "another"}))


RECORD = "base.json"


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (RECORD, _cut),
        (RECORD, _folder),
        (RECORD, Path.unlink),
        (RECORD, _says([])),
        (RECORD, _says({"weights_sha256": None})),
        (RECORD, _says({"weights_sha256": 3, "key": []})),
        (RECORD, _of_another_name),
        (WEIGHTS, _cut),
        (WEIGHTS, _flip),
        (WEIGHTS, _folder),
        (WEIGHTS, Path.unlink),
        ("lock", _folder),
    ],
)
def test_damaged_base_is_trained_again_to_the_same_bits_and_told(
    data: StudyData, tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    stream = io.StringIO()
    found = []
    for _ in range(2):
        with Progress(stream, live=False, quiet=True) as progress:
            found.append(
                trained_base(_spec(), data, cache=tmp_path, device=CPU, progress=progress)
            )
        if len(found) == 1:
            damage(found[0].path.parent / name)
    assert _same(*found)
    again = name != "lock"
    assert found[1].trained_now == again
    assert ("the base is trained again" in " ".join(stream.getvalue().split())) == again
    assert sorted(p.name for p in found[0].path.parent.iterdir()) == [RECORD, "lock", WEIGHTS]


def test_file_in_the_place_of_a_bases_folder_is_taken_away(train: Train, tmp_path: Path) -> None:
    whole = train(tmp_path / "whole")
    (tmp_path / "cache" / "bases").mkdir(parents=True)
    (tmp_path / "cache" / "bases" / whole.key).write_text("in the way")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))
        assert _same(whole, train(tmp_path / "cache" / "bases"))


def test_file_in_the_place_of_the_cache_is_refused_with_a_way_out(
    train: Train, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("somebody's")
    with pytest.raises(BadInput, match=r"cannot be made .* Set OOD_STUDY_CACHE"):
        train(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "somebody's"


def test_damaged_state_of_a_base_that_was_cut_off_is_done_without(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole")

    def save(folder: Path, state: TrainingState) -> None:
        save_checkpoint(folder, state)
        if state.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(base_training, "save_checkpoint", save)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "cut")
    _flip(tmp_path / "cut" / whole.key / "epoch_0002" / "model.safetensors")
    assert _same(whole, train(tmp_path / "cut"))
