from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from study.data.roles import OODValidation, StudyData
from study.detectors.catalog import CATALOG
from study.errors import TrialFailed
from study.recipes.base import Recipe
from study.recipes.classifier_params import SCORES
from study.recipes.registry import RECIPES, make_recipe
from study.training.chosen import ChosenWeights, load_chosen, save_chosen
from study.training.evaluation import evaluate, evaluate_sets
from study.training.loop import EpochResult, Goal, train
from tests.toys import SIZE, toy_data, toy_images, train_section

CPU = torch.device("cpu")
GOAL = Goal("val/id_accuracy", None)
EVERY = [name for name in CATALOG if name not in SCORES]


@pytest.fixture(scope="module")
def data(more_data: StudyData) -> StudyData:
    return more_data


def _fresh(recipe: Recipe) -> nn.Module:
    return recipe.build_model("resnet20", 3, dropout=0.0, image_size=SIZE, seed=0)


def _energy(*detectors: str, **changes: Any) -> Recipe:
    near = {"knn_k": 3} if "knn" in detectors else {}
    section = train_section("energy", detectors=list(detectors), lr=1e-3, **near, **changes)
    return make_recipe("energy", section)


def _results(recipe: Recipe, model: nn.Module, data: StudyData) -> list[EpochResult]:
    model = copy.deepcopy(model)
    return list(train(recipe, model, data, seed=0, goal=GOAL, device=CPU))


def test_every_epoch_tells_the_detectors_like_every_other_score(
    data: StudyData, base: nn.Module
) -> None:
    recipe = _energy("knn", "react", own_score="knn")
    assert recipe.scores == ("msp", "energy", "knn", "react")
    results = _results(recipe, base, data)
    assert len(results) == 2
    for result in results:
        assert {"val/far/knn/fpr95", "val/far/react/auroc"} <= result.metrics.keys()
        assert result.metrics["val/auroc"] == result.metrics["val/far/knn/auroc"]
        assert set(result.scores.sets["far"].scores) == set(recipe.scores)
    first, second = (result.fitted["knn.features"] for result in results)
    assert not torch.equal(first, second)  # fitted anew: the features have moved


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "baselines"])
def test_recipes_without_detectors_report_what_they_did(name: str) -> None:
    params = RECIPES[name]()
    assert not getattr(params, "detectors", [])
    assert not set(params.scores) & {"vim", "react", "mahalanobis"}


def test_every_detector_scores_as_it_does_alone(data: StudyData, base: nn.Module) -> None:
    model = copy.deepcopy(base).eval()
    together = evaluate(_energy(*EVERY), model, data, CPU)
    for name in EVERY:
        section = {"detector": name} | ({"knn_k": 3} if name == "knn" else {})
        alone = evaluate(make_recipe("baselines", section, lambda: model), model, data, CPU)
        expected = alone.ood["far"].scores["detector"]
        np.testing.assert_allclose(together.ood["far"].scores[name], expected, rtol=1e-6)


def test_fitted_tensors_lie_beside_the_weights_and_score_the_same(
    data: StudyData, base: nn.Module, tmp_path: Path
) -> None:
    recipe = _energy("knn", "vim", "react", "dice", vim_dimension=8)
    result = _results(recipe, base, data)[-1]
    path = tmp_path / "weights.safetensors"
    save_chosen(path, ChosenWeights(result.state.model, result.fitted, {}))
    chosen = load_chosen(path)
    assert {name.split(".")[0] for name in chosen.fitted} == {"knn", "vim", "react", "dice"}
    again, model = _energy("knn", "vim", "react", "dice", vim_dimension=8), _fresh(recipe)
    model.load_state_dict(chosen.model)
    sets = data.ood_val.sets
    found = evaluate_sets(again, model, data.val_id.images, sets, CPU, chosen.fitted)
    for name in recipe.scores:
        expected = result.scores.sets["far"].scores[name][0]
        np.testing.assert_array_equal(found.ood["far"].scores[name], expected)


def test_detectors_are_fitted_on_training_images_alone(data: StudyData, base: nn.Module) -> None:
    recipe = _energy("mahalanobis", "knn")
    sets = OODValidation({"far": toy_images("other", 24, seed=9)})
    val = toy_data().val_id
    other = StudyData(data.train, val, data.outliers, sets, num_classes=3, demo=False)
    one, two = (recipe.fit(copy.deepcopy(base), each, CPU) for each in (data, other))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_detector_images_caps_what_they_are_fitted_on(data: StudyData, base: nn.Module) -> None:
    few = _energy("knn", detector_images=40).fit(copy.deepcopy(base), data, CPU)["knn.features"]
    more = _energy("knn", detector_images=80).fit(copy.deepcopy(base), data, CPU)["knn.features"]
    every = _energy("knn").fit(copy.deepcopy(base), data, CPU)["knn.features"]
    assert (len(few), len(more), len(every)) == (40, 80, 120)
    assert {tuple(row) for row in few.tolist()} < {tuple(row) for row in more.tolist()}


def test_linear_fine_tuning_scores_by_its_cached_features(
    data: StudyData, base: nn.Module
) -> None:
    recipe = _energy("knn", "ash", "max_logit", fine_tune="linear")
    model = copy.deepcopy(base)
    result = list(train(recipe, model, data, seed=0, goal=GOAL, device=CPU))[-1]
    sets = data.ood_val.sets
    whole = evaluate_sets(recipe, model, data.val_id.images, sets, CPU, result.fitted)
    for name in recipe.scores:
        kept = result.scores.sets["far"].scores[name][0]
        np.testing.assert_allclose(whole.ood["far"].scores[name], kept, rtol=1e-6)


def test_outliers_recipe_selects_by_a_detector(data: StudyData) -> None:
    section = train_section("energy", detectors=["gen"], own_score="gen", loss="outlier_exposure")
    recipe = make_recipe("outliers", {**section, "epochs": 1})
    assert (recipe.scores, recipe.own_score) == (("msp", "max_logit", "energy", "gen"), "gen")
    (result,) = _results(recipe, _fresh(recipe), data)
    assert result.metrics["val/fpr95"] == result.metrics["val/far/gen/fpr95"]


def test_model_that_does_not_bear_a_detector_fails_the_trial_with_the_way_out(
    data: StudyData, base: nn.Module
) -> None:
    model = copy.deepcopy(base)
    nn.init.zeros_(model.fc.weight)  # one class for everything: the others have no pattern
    nn.init.constant_(model.fc.bias[:1], 1.0)
    with pytest.raises(TrialFailed, match=r"she: no train ID image .*train\.detectors"):
        _energy("she").fit(model, data, CPU)
