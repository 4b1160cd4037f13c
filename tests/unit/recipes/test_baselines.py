from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from study.data.roles import StudyData
from study.detectors.catalog import CATALOG
from study.errors import TrialFailed
from study.models.registry import build_classifier
from study.recipes.base import Recipe
from study.recipes.baselines_params import WITHOUT_HEAD, BaselineParams
from study.recipes.detector_params import FIELDS
from study.recipes.registry import make_recipe
from study.scoring.measuring import ood_metric
from study.training.evaluation import evaluate, evaluate_sets
from study.training.loop import EpochResult, Goal, TrainingState, train
from tests.toys import SIZE, toy_images

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(more_data: StudyData) -> StudyData:
    return more_data


def _recipe(base: nn.Module | None, **section: Any) -> Recipe:
    return make_recipe("baselines", section, None if base is None else lambda: base)


def _results(
    recipe: Recipe, model: nn.Module, data: StudyData, start: TrainingState | None = None
) -> Iterator[EpochResult]:
    goal = Goal("val/fpr95", None)
    return train(recipe, model, data, seed=0, goal=goal, device=CPU, start=start)


def test_params_know_every_detector_and_every_parameter_of_it() -> None:
    assert get_args(BaselineParams.model_fields["detector"].annotation) == tuple(CATALOG)
    fields = [f"{name}_{key}" for name, one in CATALOG.items() for key in one.parameters]
    assert list(FIELDS) == fields
    assert set(BaselineParams.model_fields) == {*fields, "epochs", "detector", "head"}


@pytest.mark.parametrize("field", FIELDS)
def test_params_have_the_types_and_bounds_of_the_catalog(field: str) -> None:
    detector, key = FIELDS[field]
    known = CATALOG[detector].parameters[key]
    values = [None, "features", "s", "x", True, -1, 0, 0.0, 0.5, 1, 1.0, 3, 1e9, float("nan")]
    for value in values:
        good = value is None or known.fits(value)
        try:
            BaselineParams(**{field: value})
        except ValidationError:
            assert not good, value
        else:
            assert good, value
    assert BaselineParams.model_fields[field].description == known.meaning


@pytest.mark.parametrize("detector", sorted(CATALOG))
def test_trial_scores_once_and_leaves_the_model_as_it_was(
    detector: str, data: StudyData, base: nn.Module
) -> None:
    model = copy.deepcopy(base)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    section = {"detector": detector} | ({"knn_k": 3} if detector == "knn" else {})
    (result,) = _results(_recipe(base, **section), model, data)
    assert result.epoch == 1
    assert np.isfinite(result.metrics["val/far/detector/auroc"])
    assert result.metrics["val/fpr95"] == result.metrics["val/far/detector/fpr95"]
    assert {"val/far/msp/auroc", "val/far/energy/auroc"} <= result.metrics.keys()
    assert all(torch.equal(before[name], t) for name, t in result.state.model.items())
    if detector == "energy":  # ours and pytorch-ood's are one
        ours = result.metrics["val/far/detector/auroc"]
        assert ours == result.metrics["val/far/energy/auroc"]


def test_trial_that_has_scored_is_over(data: StudyData, base: nn.Module) -> None:
    recipe, model = _recipe(base, detector="msp"), copy.deepcopy(base)
    (result,) = _results(recipe, model, data)
    assert not list(_results(recipe, model, data, start=result.state))


@pytest.mark.parametrize("detector", ["knn", "vim", "dice"])
def test_fitted_detector_scores_the_same_when_it_comes_back(
    detector: str, data: StudyData, base: nn.Module
) -> None:
    section = {"detector": detector} | ({"knn_k": 3} if detector == "knn" else {})
    (result,) = _results(_recipe(base, **section), copy.deepcopy(base), data)
    again = evaluate_sets(
        _recipe(base, **section),
        copy.deepcopy(base),
        data.val_id.images,
        data.ood_val.sets,
        CPU,
        {name: tensor.clone() for name, tensor in result.fitted.items()},
    )
    first = result.scores.sets["far"].scores["detector"][0]
    np.testing.assert_array_equal(again.ood["far"].scores["detector"], first)


def test_detector_is_fitted_on_training_images_alone(data: StudyData, base: nn.Module) -> None:
    recipe = _recipe(base, detector="mahalanobis")
    other = StudyData(
        data.train,
        data.val_id,
        None,
        type(data.ood_val)({"far": toy_images("other", 24, seed=9)}),
        num_classes=3,
        demo=False,
    )
    one = recipe.fit(copy.deepcopy(base), data, CPU)
    two = recipe.fit(copy.deepcopy(base), other, CPU)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("detector", WITHOUT_HEAD)
def test_without_a_trained_head_features_score_and_class_means_predict(
    detector: str, data: StudyData, base: nn.Module
) -> None:
    recipe = _recipe(None, detector=detector, head="none", knn_k=3)
    assert recipe.scores == ("detector",)
    model = recipe.build_model("resnet20", 3, dropout=0.0, image_size=SIZE, seed=1)
    weights = {n: t for n, t in base.state_dict().items() if not n.startswith("fc.")}
    recipe.load_start(model, weights)
    found = evaluate(recipe, model, data, CPU)
    nn.init.zeros_(model.fc.weight)  # whatever the head holds, it has no say
    headless = evaluate(recipe, model, data, CPU)
    assert found.id_accuracy() > 0.5
    np.testing.assert_array_equal(found.id.prediction, headless.id.prediction)
    first, second = (one.ood["far"].scores["detector"] for one in (found, headless))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("section", "match"),
    [
        ({"detector": "vim", "vim_dimension": 64}, r"vim\.dimension: 64 must be below .* 64"),
        ({"detector": "msp", "vim_dimension": 80}, r"vim\.dimension: 80"),
        ({"detector": "knn", "knn_k": 120}, r"knn\.k: 120 must be below the 120"),
        ({"detector": "gen", "gen_top": 4}, r"gen\.top: 4 must be at most the 3 classes"),
    ],
)
def test_check_setting_beyond_the_sizes_is_told_before_trials(
    section: dict[str, Any], match: str, data: StudyData, base: nn.Module
) -> None:
    with pytest.raises(ValueError, match=match):
        _recipe(base, **section).check(data)


def test_check_trained_head_without_one_is_told(data: StudyData) -> None:
    with pytest.raises(ValueError, match=r"no trained head.*train\.head: none"):
        _recipe(None, detector="energy").check(data)


def test_model_that_a_detector_cannot_serve_fails_the_trial_with_a_sentence(
    data: StudyData,
) -> None:
    model = build_classifier("resnet20", 3, image_size=SIZE, seed=0)
    nn.init.zeros_(model.fc.weight)  # one class for everything: the others have no pattern
    nn.init.constant_(model.fc.bias[:1], 1.0)
    with pytest.raises(TrialFailed, match="she: no train ID image of classes"):
        list(_results(_recipe(model, detector="she"), model, data))


def test_error_auroc_tells_wrong_predictions_by_the_score(
    data: StudyData, base: nn.Module
) -> None:
    recipe = _recipe(base, detector="msp")
    found = evaluate(recipe, copy.deepcopy(base), data, CPU)
    wrong = np.arange(len(data.val_id.images)) % 4 == 0
    labels = data.val_id.images.labels
    found.id.prediction[:] = np.where(wrong, (labels + 1) % 3, labels)
    scores = found.id.scores["msp"]
    told = found.metrics("detector")
    assert told["val/msp/error_auroc"] == ood_metric("auroc", scores[~wrong], scores[wrong])
    found.id.scores["msp"][:] = wrong
    assert found.metrics("detector")["val/msp/error_auroc"] == 1.0


def test_error_auroc_without_any_wrong_prediction_is_left_out(
    data: StudyData, base: nn.Module
) -> None:
    found = evaluate(_recipe(base, detector="msp"), copy.deepcopy(base), data, CPU)
    found.id.prediction[:] = data.val_id.images.labels
    assert not [name for name in found.metrics("detector") if name.endswith("error_auroc")]


@pytest.mark.parametrize("head", ["trained", "none"])
def test_trial_starts_from_the_weights_that_it_is_given(base: nn.Module, head: str) -> None:
    recipe = _recipe(base, detector="knn", head=head)
    model = recipe.build_model("resnet20", 3, dropout=0.0, image_size=SIZE, seed=5)
    fresh = {name: values.clone() for name, values in model.state_dict().items()}
    recipe.load_start(model, base.state_dict())
    for name, values in model.state_dict().items():
        own = head == "none" and name.startswith("fc.")
        assert torch.equal(values, (fresh if own else base.state_dict())[name]), name
