from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.bases.saved_models import load_model
from study.data.roles import StudyData, TrainID, ValidationID
from study.errors import BadInput, TrialFailed
from study.models.nordf import NordF, NordFOutput
from study.models.registry import build_classifier
from study.models.weights import save_weights
from study.recipes.base import Moment, Recipe
from study.recipes.nordf_params import NordfParams
from study.recipes.registry import make_recipe
from study.records.files import WEIGHTS, RunFolder, write_json
from study.records.scores import read_scores
from study.training.assignment import Assignment
from study.training.evaluation import evaluate, evaluate_sets
from study.training.loop import EpochResult, Goal, train
from study.training.starting import BaseWeights, Starting
from study.training.trial import TrialSetting, run_trial
from tests.toys import SIZE, toy_data, toy_images

CPU = torch.device("cpu")
SMALL = {"width": 8, "branch_channels": 8, "decoder_blocks": 0, "bank_images": 40}
SECTION: dict[str, Any] = {
    **{"epochs": 2, "batch_size": 8, "augment": "none", "reconstruction": "l1"},
    **SMALL,
}


def _base() -> nn.Module:
    return build_classifier("resnet20", 3, image_size=SIZE, seed=7)


def _recipe(**changes: Any) -> Recipe:
    return make_recipe("nordf", SECTION | changes, _base)


def _model(recipe: Recipe, seed: int = 0) -> nn.Module:
    return recipe.build_model("resnet20", 3, dropout=0.0, image_size=SIZE, seed=seed)


def _train(recipe: Recipe, data: StudyData | None = None) -> Iterator[EpochResult]:
    goal = Goal("val/fpr95", None)
    return train(recipe, _model(recipe), data or toy_data(), seed=0, goal=goal, device=CPU)


def test_epoch_tells_every_term_and_every_score() -> None:
    result = next(_train(_recipe()))
    terms = {name.removeprefix("train/") for name in result.metrics if name.startswith("train/")}
    assert terms >= {"loss", "cross_entropy", "similarity", "reconstruction", "clamped"}
    assert terms >= {"different_cosine", "gradient_norm", "gradient_norm_max", "similarity_scale"}
    scored = {name.split("/")[2] for name in result.metrics if name.startswith("val/far/")}
    assert scored == set(_recipe().scores)
    assert result.metrics["val/fpr95"] == result.metrics["val/far/combined/fpr95"]


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"reconstruction_weight": 0.0}, {"reconstruction", "perceptual"}),
        ({"perceptual_network": None}, {"perceptual"}),
    ],
)
def test_scores_that_nothing_trains_are_not_there(
    changes: dict[str, Any], missing: set[str]
) -> None:
    assert set(_recipe().scores) - set(_recipe(**changes).scores) == missing
    next(_train(_recipe(**changes)))


def test_selection_goes_by_the_score_that_the_yaml_names() -> None:
    metrics = next(_train(_recipe(own_score="knn"))).metrics
    assert metrics["val/auroc"] == metrics["val/far/knn/auroc"]


@pytest.mark.parametrize("loss", ["mse", "huber", "charbonnier", "perceptual"])
def test_reconstruction_losses_train(loss: str) -> None:
    metrics = next(_train(_recipe(reconstruction=loss))).metrics
    assert 0 < metrics["train/reconstruction"] < 100


def test_training_goes_on_from_a_state_to_the_same_bits() -> None:
    epochs = _train(_recipe())
    state = copy.deepcopy(next(epochs).state)  # the next epoch trains the very tensors on
    second = next(epochs)
    recipe, goal = _recipe(), Goal("val/fpr95", None)
    (again,) = train(
        recipe, _model(recipe), toy_data(), seed=0, goal=goal, device=CPU, start=state
    )
    assert again.metrics["train/loss"] == second.metrics["train/loss"]
    for name, scores in second.scores.sets["far"].scores.items():
        np.testing.assert_array_equal(again.scores.sets["far"].scores[name], scores)


def test_combination_is_the_mean_of_scores_standardised_on_validation_id() -> None:
    recipe, data = _recipe(), toy_data()
    evaluation = evaluate(recipe, _model(recipe), data, CPU)
    parts = [name for name in recipe.scores if name != "combined"]
    id_, ood = evaluation.id.scores, evaluation.ood["far"].scores
    z = [(ood[name] - id_[name].mean()) / id_[name].std() for name in parts]
    np.testing.assert_allclose(ood["combined"], np.mean(z, axis=0), rtol=1e-6)
    assert abs(id_["combined"].mean()) < 1e-9


def test_sets_are_scored_with_what_was_fitted_before() -> None:
    recipe, data = _recipe(), toy_data()
    model = _model(recipe)
    first = evaluate(recipe, model, data, CPU)
    other = toy_images("other", 9, classes=3, seed=5)  # its statistics must not matter
    again = evaluate_sets(recipe, model, other, data.ood_val.sets, CPU, first.fitted)
    np.testing.assert_array_equal(
        again.ood["far"].scores["combined"], first.ood["far"].scores["combined"]
    )


def test_backbone_starts_from_the_base_and_the_branches_do_not() -> None:
    recipe = _recipe()
    model, base = _model(recipe, seed=3), _base()
    fresh = {name: values.clone() for name, values in model.state_dict().items()}
    recipe.load_start(model, base.state_dict())
    for name, values in model.state_dict().items():
        wanted = base.state_dict()[name] if name.startswith("backbone.") else fresh[name]
        assert torch.equal(values, wanted), name


def test_base_of_another_backbone_is_refused_by_name() -> None:
    other = build_classifier("resnet32", 3, image_size=SIZE, seed=7)
    with pytest.raises(BadInput, match=r"backbone\.layer1\.3"):
        _recipe().load_start(_model(_recipe()), other.state_dict())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"perceptual_layers": ["layer9"]}, "layer9"),
        ({"same_class_share": 0.999}, "same_share"),
        ({"bank_images": 10}, r"bank_images: 10 hold no image of classes \[\d"),
    ],
)
def test_what_cannot_be_trained_is_told_before_a_trial(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        _recipe(**changes).check(_rare_class() if "bank_images" in changes else toy_data())


def _rare_class() -> StudyData:
    """One image of class 2, which a bank of ten does not draw."""
    data = toy_data()
    labels = data.train.images.labels
    kept = np.concatenate([np.flatnonzero(labels != 2), np.flatnonzero(labels == 2)[:1]])
    return replace(data, train=TrainID(data.train.images.take(kept)))


class _Asked(nn.Module):
    """Notes with which weights of the reversed gradient its branches are asked for."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.reversals: list[float | None] = []

    def branches(
        self, images: Tensor, *, reversal: Tensor | None, reconstruct: bool
    ) -> NordFOutput:
        self.reversals.append(None if reversal is None else reversal.item())
        assert isinstance(self.model, NordF)
        return self.model.branches(images, reversal=reversal, reconstruct=reconstruct)


def _reversals(recipe: Recipe, *moments: tuple[int, int]) -> list[float | None]:
    """Weights at (epoch, step) of a run of two epochs, ten steps each."""
    loss, asked = recipe.loss(), _Asked(_model(recipe))
    batch = next(recipe.batches(toy_data(), seed=0, epoch=1, device=CPU))
    for epoch, step in moments:
        loss.at(Moment(epoch, step, steps_per_epoch=10, epochs=2))
        loss(asked, batch)
    return asked.reversals


def test_staircase_of_the_reversal_has_a_weight_of_its_own() -> None:
    recipe = _recipe(reversal="staircase", reversal_weight=0.5)
    assert _reversals(recipe, (1, 0)) == [0.01]


@pytest.mark.parametrize("where", ["upper.0.weight", "output.bias"])
def test_model_that_has_diverged_fails_its_trial_and_is_no_bug(where: str) -> None:
    recipe = _recipe()
    model = _model(recipe)
    with torch.no_grad():
        model.get_parameter(where).fill_(float("nan"))
    with pytest.raises(TrialFailed, match="finite"):
        evaluate(recipe, model, toy_data(), CPU)


def test_reversal_follows_its_schedule_over_the_run() -> None:
    recipe = _recipe(reversal="linear", reversal_step="batch")
    assert _reversals(recipe, (1, 0), (1, 5), (2, 0)) == [0.0, 0.25, 0.5]


def test_reversal_turns_the_gradient_of_the_similarity_and_none_lets_it_pass() -> None:
    data, gradients = toy_data(), {}
    for kind in ("none", "constant"):
        recipe = _recipe(reversal=kind, classification_weight=0.0, reconstruction_weight=0.0)
        model, loss = _model(recipe).eval(), recipe.loss()
        loss.at(Moment(1, 0, 7, 2))
        batch = next(recipe.batches(data, seed=0, epoch=1, device=CPU))
        loss(model, batch)["loss"].backward()
        assert isinstance(model, NordF)
        gradients[kind] = model.shared.weight.grad
    torch.testing.assert_close(gradients["none"], -gradients["constant"])  # type: ignore[operator]


def test_upper_features_that_collapse_are_told_and_fail_nothing() -> None:
    recipe, data = _recipe(), toy_data()
    model = _model(recipe)
    assert isinstance(model, NordF)
    for module in model.upper.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)  # every image has the same upper features
            nn.init.ones_(module.bias)
    evaluation = evaluate(recipe, model, data, CPU)
    assert np.ptp(evaluation.ood["far"].scores["upper_prototype"]) == 0
    assert np.ptp(evaluation.ood["far"].scores["combined"]) > 0
    told = NordfParams.remark({"train/different_cosine": 0.999})
    assert told == "upper features collapsed (mean cosine of different pairs 0.9990)"
    assert NordfParams.remark({"train/different_cosine": 0.5}) == ""
    assert NordfParams.remark({}) == ""


def test_epoch_tells_the_cosine_of_different_pairs_in_place_of_its_parts() -> None:
    recipe = _recipe()
    means = {"loss": 2.0, "different_cosine_sum": 0.6, "num_different": 2.0}
    assert recipe.epoch_metrics(means) == {"loss": 2.0, "different_cosine": pytest.approx(0.3)}
    none = {"different_cosine_sum": 0.0, "num_different": 0.0}
    assert recipe.epoch_metrics(none) == {"different_cosine": 0.0}


def test_smallest_batch_trains_in_group_norm() -> None:
    data = toy_data()
    few = StudyData(
        TrainID(data.train.images.take(np.arange(9))), data.val_id, None, data.ood_val, 3, False
    )
    metrics = next(_train(_recipe(batch_size=2, norm="group"), few)).metrics
    assert np.isfinite(metrics["train/loss"])


def test_trial_comes_back_from_its_folder_with_scores_and_similarity(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    write_json(run.manifest, {})
    base = _base()
    arrays = {name: values.numpy() for name, values in base.state_dict().items()}
    start = BaseWeights("resnet20", 0.0, 3, SIZE, arrays)
    starting = Starting(start, {"resnet20": arrays})
    goal = Goal("val/fpr95", None)
    setting = TrialSetting("nordf", toy_data(), starting, tmp_path, goal, "last", 1, "cpu")
    section = SECTION | {"panel_epochs": []}
    model = {"backbone": "resnet20", "dropout": 0.0, "init": "base"}
    told = list(run_trial(Assignment(0, 0, model, section), setting))
    assert "failed" not in told[-1], told[-1]
    folder = run.trial_checkpoints("base")
    write_json(
        folder / "trial.json",
        {"recipe": "classifier", "number": -1, "seed": 0, "model": model, "train": {}},
    )
    save_weights(base, folder / WEIGHTS)
    saved = load_model(run, "00000", 3, SIZE)
    data = toy_data()
    again = evaluate_sets(
        saved.recipe, saved.model, data.val_id.images, data.ood_val.sets, CPU, saved.fitted
    )
    kept = read_scores(run, "00000").sets["far"].scores
    for name, values in again.ood["far"].scores.items():
        np.testing.assert_allclose(kept[name][-1], values, rtol=1e-6, err_msg=name)
    assert "similarity.log_scale" in saved.loss


def test_similarity_pushes_apart_the_pairs_of_different_classes_alone() -> None:
    recipe = _recipe(same_class_share=0.25)
    model = _model(recipe).eval()
    batch = next(recipe.batches(toy_data(), seed=0, epoch=1, device=CPU))
    assert isinstance(model, NordF)
    assert batch.pairs is not None
    first, second = batch.pairs.unbind(dim=1)
    different = batch.labels[first] != batch.labels[second]
    assert int(different.sum()) not in (0, len(different) / 2, len(different))
    upper = model.branches(batch.images, reconstruct=False).upper
    cosines = functional.cosine_similarity(upper[first], upper[second])
    terms = recipe.loss()(model, batch)
    assert int(terms["num_different"]) == int(different.sum())
    torch.testing.assert_close(terms["different_cosine_sum"], cosines[different].sum())


def test_prototypes_and_bank_are_of_training_images_in_evaluation_mode() -> None:
    recipe, data = _recipe(), toy_data()
    model = _model(recipe)
    expected = recipe.fit(model.eval(), data, CPU)
    other = ValidationID(toy_images("other", 30, classes=3, seed=9))
    found = recipe.fit(model.train(), replace(data, val_id=other), CPU)
    assert found.keys() == expected.keys()
    assert all(torch.equal(values, expected[name]) for name, values in found.items())
