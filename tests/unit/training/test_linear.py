"""Linear fine-tuning: what moves, what does not, and that the features are those of the model."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from study.data.batches import Augment, evaluation_batches
from study.data.images import ImageSet
from study.data.roles import StudyData
from study.models.classifier import Classifier
from study.recipes import frozen_features as features_module
from study.recipes.base import Recipe
from study.recipes.frozen_features import Frozen
from study.recipes.registry import make_recipe
from study.training.evaluation import evaluate
from study.training.linear import LinearTraining
from study.training.loop import EpochResult, Goal, TrainingState, train
from tests.toys import toy_data, train_section

CPU = torch.device("cpu")
KINDS = ["classifier", "energy", "outlier_exposure", "energy_logistic", "balanced_energy"]
KINDS += ["distributional"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def data() -> StudyData:
    return toy_data()


def _recipe(kind: str, **changes: Any) -> Recipe:
    changes = {"fine_tune": "linear", "augment": "crop_flip", "feature_views": 3, **changes}
    if kind in ("classifier", "energy"):
        return make_recipe(kind, train_section(kind, **changes))
    return make_recipe("outliers", train_section("energy", loss=kind, **changes))


def _model(recipe: Recipe) -> nn.Module:
    """A classifier whose BatchNorm statistics are not those of its initialisation."""
    model = recipe.build_model("resnet20", 3, dropout=0.0, image_size=8, seed=7)
    model.train()
    with torch.no_grad():
        model(torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    return model


def _run(recipe: Recipe, data: StudyData, start: TrainingState | None = None) -> list[EpochResult]:
    goal = Goal("val/fpr95", None)
    epochs = train(recipe, _model(recipe), data, seed=7, goal=goal, device=CPU, start=start)
    return [copy.deepcopy(one) for one in epochs]


@pytest.mark.parametrize("kind", KINDS)
def test_linear_moves_the_last_layer_and_not_a_bit_of_the_rest(data: StudyData, kind: str) -> None:
    recipe = _recipe(kind, lr=0.05)
    before = {name: tensor.clone() for name, tensor in _model(recipe).state_dict().items()}
    after = _run(recipe, data)[-1].state.model
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) != name.startswith("fc."), name


@pytest.mark.parametrize("kind", ["energy", "energy_logistic", "distributional"])
def test_linear_resumed_goes_on_bit_for_bit(data: StudyData, kind: str) -> None:
    recipe = _recipe(kind, epochs=3)
    whole = _run(recipe, data)
    resumed = _run(recipe, data, start=whole[0].state)
    assert [one.epoch for one in resumed] == [2, 3]
    for name, tensor in whole[2].state.model.items():
        assert torch.equal(tensor, resumed[1].state.model[name]), name
    for name, tensor in whole[2].state.loss.items():
        assert torch.equal(tensor, resumed[1].state.loss[name]), name
    assert whole[1].metrics["train/loss"] != whole[2].metrics["train/loss"]


def test_linear_scores_are_those_of_the_whole_model_bit_for_bit(data: StudyData) -> None:
    recipe = _recipe("energy")
    last = _run(recipe, data)[-1]
    model = _model(recipe).to(memory_format=torch.channels_last)
    model.load_state_dict(last.state.model)
    whole = evaluate(recipe, model, data, CPU).as_epoch(2)
    for name, scored in whole.sets.items():
        for score, values in scored.scores.items():
            assert values.tobytes() == last.scores.sets[name].scores[score].tobytes()


def test_linear_without_augmentation_trains_on_the_features_of_the_images(
    data: StudyData,
) -> None:
    recipe = _recipe("energy", augment="none")
    model = _model(recipe).to(memory_format=torch.channels_last)
    setting = LinearTraining(recipe, model, data, 7, CPU)
    full = _recipe("energy", augment="none", fine_tune="full")
    images = list(full.batches(data, seed=7, epoch=2, device=CPU))
    features = list(setting.batches(2))
    assert len(images) == len(features) == 4
    model.eval()
    for one, other in zip(images, features, strict=True):
        assert one.num_id == other.num_id
        assert torch.equal(one.labels, other.labels)
        with torch.no_grad():
            expected = model.features(one.images)
        torch.testing.assert_close(other.images, expected)


def test_views_differ_and_all_are_drawn(data: StudyData) -> None:
    model = _model(_recipe("energy"))
    views = Frozen(model, CPU).features(data.train.images, "crop_flip", 3)
    assert views.shape == (3, 60, 64)
    assert not np.array_equal(views[0], views[1])
    setting = LinearTraining(_recipe("energy"), model, data, 7, CPU)
    flat = views.reshape(-1, 64)
    found = set()
    for epoch in range(1, 4):
        for batch in setting.batches(epoch):
            for row in batch.images[: batch.num_id].numpy():
                found.add(int(np.flatnonzero((flat == row).all(axis=1))[0]) // 60)
    assert found == {0, 1, 2}


def test_features_are_computed_once_for_equal_content(
    data: StudyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _model(_recipe("energy"))
    first = np.array(Frozen(model, CPU).features(data.train.images, "crop_flip", 2))
    monkeypatch.setattr(Classifier, "features", None)  # a second computation would fail
    again = Frozen(copy.deepcopy(model), CPU).features(data.train.images, "crop_flip", 2)
    assert np.array_equal(first, again)
    with torch.no_grad():
        model.backbone.conv1.weight.add_(1e-3)
    with pytest.raises(TypeError):
        Frozen(model, CPU).features(data.train.images, "crop_flip", 2)


def test_head_is_no_part_of_what_features_are_named_after(data: StudyData, tmp_path: Path) -> None:
    model = _model(_recipe("energy"))

    def num_files(images: ImageSet, augment: Augment) -> int:
        Frozen(model, CPU).features(images, augment, 1)
        return len(list(tmp_path.glob("features/*.npy")))

    assert num_files(data.train.images, "none") == 1
    with torch.no_grad():
        model.fc.weight.zero_()
    assert num_files(data.train.images, "none") == 1
    assert num_files(data.train.images, "crop_flip") == 2
    assert num_files(data.val_id.images, "none") == 3


@pytest.mark.parametrize("kept", [0, 7, -1])
def test_damaged_features_are_computed_again(data: StudyData, tmp_path: Path, kept: int) -> None:
    model = _model(_recipe("energy"))
    first = np.array(Frozen(model, CPU).features(data.val_id.images, "none", 1))
    (path,) = tmp_path.glob("features/*.npy")
    path.write_bytes(path.read_bytes()[:kept] + (b"!" if kept < 0 else b""))
    again = Frozen(model, CPU).features(data.val_id.images, "none", 1)
    assert np.array_equal(first, again)
    assert not list(tmp_path.glob("features/*.tmp"))


def test_features_without_a_cache_are_computed_in_memory(
    data: StudyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _model(_recipe("energy"))
    first = np.array(Frozen(model, CPU).features(data.val_id.images, "none", 1))
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "file"))
    again = Frozen(model, CPU).features(data.val_id.images, "none", 1)
    assert np.array_equal(first, again)
    assert not again.flags.writeable


def test_linear_needs_a_classifier() -> None:
    with pytest.raises(ValueError, match="last layer"):
        Frozen(nn.Linear(3, 2), CPU)


def test_features_are_of_the_evaluations_batches(data: StudyData) -> None:
    model = _model(_recipe("energy")).to(memory_format=torch.channels_last)
    found = Frozen(model, CPU).features(data.val_id.images, "none", 1)[0]
    batches = evaluation_batches(data.val_id.images, features_module.BATCH_SIZE, CPU, True)
    with torch.no_grad():
        expected = torch.cat([model.features(batch) for batch in batches])
    assert found.tobytes() == expected.numpy().tobytes()


def test_views_are_drawn_anew_in_every_epoch(data: StudyData) -> None:
    recipe = _recipe("classifier")
    model = _model(recipe)
    setting = LinearTraining(recipe, model, data, 7, CPU)
    flat = Frozen(model, CPU).features(data.train.images, "crop_flip", 3).reshape(-1, 64)
    views = []
    for epoch in (1, 2):
        rows = np.concatenate([batch.images.numpy() for batch in setting.batches(epoch)])
        views.append([int(np.flatnonzero((flat == row).all(axis=1))[0]) // 60 for row in rows])
    # Of three views a third is the same by chance; the features of a few are equal.
    assert np.equal(*views).mean() < 0.6
