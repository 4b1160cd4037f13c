from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from study.data.batches import evaluation_batches
from study.data.images import ImageSet
from study.data.roles import StudyData
from study.errors import TrialFailed
from study.recipes.base import Recipe
from study.recipes.registry import make_recipe
from study.scoring.measuring import OOD_METRICS, ood_metrics
from study.training.evaluation import evaluate
from tests.toys import toy_data, train_section

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data() -> StudyData:
    return toy_data()


@pytest.fixture
def recipe() -> Recipe:
    return make_recipe("energy", train_section("energy"))


@pytest.fixture
def model(recipe: Recipe) -> nn.Module:
    return recipe.build_model("resnet20", 3, dropout=0.0, image_size=8, seed=0)


def test_scores_do_not_depend_on_how_images_are_cut_into_batches(
    data: StudyData, recipe: Recipe, model: nn.Module
) -> None:
    def read(images: ImageSet, device: torch.device) -> Iterator[Tensor]:
        return evaluation_batches(images, 7, device, channels_last=True)

    model.train()  # evaluation itself has to leave training mode, or batches would matter
    whole = evaluate(recipe, model, data, CPU)
    cut = evaluate(recipe, model.train(), data, CPU, read=read)
    for score in ("msp", "energy"):
        np.testing.assert_allclose(whole.id.scores[score], cut.id.scores[score], rtol=1e-5)
        one, two = whole.ood["far"].scores[score], cut.ood["far"].scores[score]
        np.testing.assert_allclose(one, two, rtol=1e-5)
    np.testing.assert_array_equal(whole.id.prediction, cut.id.prediction)


def test_evaluation_leaves_the_model_as_it_was(
    data: StudyData, recipe: Recipe, model: nn.Module
) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    evaluate(recipe, model, data, CPU)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_metrics_have_the_names_of_the_contract_and_the_own_score_in_the_means(
    data: StudyData, recipe: Recipe, model: nn.Module
) -> None:
    found = evaluate(recipe, model, data, CPU)
    metrics = found.metrics("energy")
    expected = {"val/id_accuracy", "val/msp/error_auroc", "val/energy/error_auroc"}
    expected |= {f"val/{name}" for name in OOD_METRICS}
    expected |= {f"val/far/{s}/{name}" for s in ("msp", "energy") for name in OOD_METRICS}
    assert metrics.keys() == expected
    assert {"fpr95", "fpr95_ood_positive", "auroc", "aupr_in", "aupr_out"} == set(OOD_METRICS)
    by_hand = ood_metrics(found.id.scores["energy"], found.ood["far"].scores["energy"])
    assert all(metrics[f"val/{name}"] == by_hand[name] for name in OOD_METRICS)
    right = found.id.prediction == data.val_id.images.labels
    assert metrics["val/id_accuracy"] == right.mean()


def test_epoch_record_has_every_image_once_with_its_source(
    data: StudyData, recipe: Recipe, model: nn.Module
) -> None:
    record = evaluate(recipe, model, data, CPU).as_epoch(4)
    assert record.epochs.tolist() == [4]
    assert set(record.sets) == {"val_id", "far"}
    for name, images in (("val_id", data.val_id.images), ("far", data.ood_val.sets["far"])):
        one = record.sets[name]
        assert one.image.tolist() == images.ids.tolist()
        assert one.group.tolist() == images.groups.tolist()
        assert one.label.tolist() == images.labels.tolist()
        assert one.scores["energy"].shape == one.prediction.shape == (1, len(images))


class _Same(nn.Module):
    """The same logits for every image."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), -1)


def test_constant_scores_fail_the_trial(data: StudyData, recipe: Recipe) -> None:
    with pytest.raises(TrialFailed, match=r"score msp is .* for all 54 validation images"):
        evaluate(recipe, _Same(1.0, 2.0, 3.0), data, CPU)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_that_are_not_finite_fail_the_trial(
    data: StudyData, recipe: Recipe, value: float
) -> None:
    with pytest.raises(TrialFailed, match="54 of 54 values are not finite"):
        evaluate(recipe, _Same(value, 0.0, 1.0), data, CPU)


def test_part_that_is_scored_alone_leaves_training_mode_too(
    data: StudyData, recipe: Recipe, model: nn.Module
) -> None:
    part = nn.Sequential(model, nn.Dropout(0.5)).train()
    found = evaluate(recipe, model, data, CPU, scored=part)
    whole = evaluate(recipe, model, data, CPU)
    np.testing.assert_array_equal(found.id.scores["energy"], whole.id.scores["energy"])
