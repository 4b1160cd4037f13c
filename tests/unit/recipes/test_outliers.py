"""The recipe ``outliers``: each loss by name, what it starts from, what goes on after a cut."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from study.data.batches import Batch, evaluation_batches
from study.data.roles import StudyData
from study.errors import BadInput
from study.recipes.base import TrainingLoss
from study.recipes.declared_losses import declared_losses
from study.recipes.energy_params import OutlierParams
from study.recipes.registry import make_recipe
from study.space.loading import load_space
from study.training.loop import EpochResult, Goal, TrainingState, train
from tests.toys import toy_data, train_section

CPU = torch.device("cpu")
LOSSES = tuple(declared_losses())


@pytest.fixture(scope="module")
def data() -> StudyData:
    return toy_data()


def _section(loss: str, **changes: Any) -> dict[str, Any]:
    return train_section("energy", loss=loss, **changes)


def _model(seed: int = 7) -> nn.Module:
    recipe = make_recipe("outliers", _section("energy_margins"))
    return recipe.build_model("resnet20", 3, dropout=0.0, image_size=8, seed=seed)


def _run(
    data: StudyData, section: dict[str, Any], start: TrainingState | None = None
) -> list[EpochResult]:
    recipe = make_recipe("outliers", section)
    goal = Goal("val/fpr95", None)
    epochs = train(recipe, _model(), data, seed=7, goal=goal, device=CPU, start=start)
    return [copy.deepcopy(one) for one in epochs]


def _terms(
    data: StudyData, loss: str, **changes: Any
) -> tuple[TrainingLoss, dict[str, Tensor], Batch, Tensor]:
    """The objective after ``begin``, its terms on a batch, the batch and the model's logits."""
    recipe = make_recipe("outliers", _section(loss, **changes))
    objective, model = recipe.loss(), _model().eval()
    objective.begin(model, data, CPU)
    batch = next(recipe.batches(data, seed=0, epoch=1, device=CPU))
    return objective, objective(model, batch), batch, model(batch.images).detach()


@pytest.mark.parametrize("loss", LOSSES)
def test_run_of_each_loss_resumed_goes_on_bit_for_bit(data: StudyData, loss: str) -> None:
    section = _section(loss, epochs=2, augment="crop_flip")
    whole = _run(data, section)
    (resumed,) = _run(data, section, start=whole[0].state)
    for name, tensor in whole[1].state.model.items():
        assert torch.equal(tensor, resumed.state.model[name]), name
    assert whole[1].state.loss.keys() == resumed.state.loss.keys()
    for name, tensor in whole[1].state.loss.items():
        assert torch.equal(tensor, resumed.state.loss[name]), name


def test_energy_margins_are_the_recipe_energy_to_the_last_bit(data: StudyData) -> None:
    ours = _run(data, _section("energy_margins"))[-1].state.model
    recipe = make_recipe("energy", train_section("energy"))
    goal = Goal("val/fpr95", None)
    theirs = list(train(recipe, _model(), data, seed=7, goal=goal, device=CPU))[-1].state.model
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_outlier_exposure_adds_its_weighted_term(data: StudyData) -> None:
    _, terms, batch, logits = _terms(data, "outlier_exposure", oe_weight=0.25)
    classification = functional.cross_entropy(logits[:16], batch.labels)
    uniform = -functional.log_softmax(logits[16:], dim=1).mean()
    torch.testing.assert_close(terms["loss"], classification + 0.25 * uniform)


def test_logistic_starts_midway_between_the_mean_energies(data: StudyData) -> None:
    loss, terms, _, _ = _terms(data, "energy_logistic", logistic_scale=2.0)
    assert data.outliers is not None
    model, means = _model().eval(), []
    for images in (data.train.images, data.outliers.images):
        with torch.no_grad():
            logits = torch.cat([model(b) for b in evaluation_batches(images, 16)])
        means.append(float(-logits.logsumexp(dim=1).mean()))
    assert float(terms["logistic_centre"].detach()) == pytest.approx(sum(means) / 2, abs=1e-5)
    assert float(terms["logistic_scale"].detach()) == pytest.approx(2.0)
    assert {name for name, _ in loss.named_parameters()} == {
        "logistic.log_scale",
        "logistic.centre",
    }


def test_logistic_trains_its_parameters_without_decay(data: StudyData) -> None:
    section = _section("energy_logistic", weight_decay=0.1, lr=0.1)
    first, last = _run(data, section)
    names = ("logistic.log_scale", "logistic.centre")
    assert all(not torch.equal(first.state.loss[n], last.state.loss[n]) for n in names)
    decays = [group["weight_decay"] for group in last.state.optimizer["param_groups"]]
    assert decays == [0.1, 0.0]


def test_balanced_measures_the_prior_of_the_outliers(data: StudyData) -> None:
    loss, terms, _, logits = _terms(data, "balanced_energy", prior_power=0.5, prior_margin=2.0)
    assert data.outliers is not None
    batches = evaluation_batches(data.outliers.images, 512, channels_last=True)
    with torch.no_grad():
        predicted = torch.cat([_model().eval()(b) for b in batches]).argmax(dim=1)
    shares = torch.bincount(predicted, minlength=3) / len(predicted)
    torch.testing.assert_close(loss.prior, shares)
    powers = shares**0.5
    z = (logits[16:].softmax(dim=1) * powers / powers.sum()).sum(dim=1)
    energies = -logits.logsumexp(dim=1)
    hinges = (-1.0 + 2.0 * z - energies[16:]).clamp(min=0).square()
    out = (z * hinges).sum() / z.sum()
    torch.testing.assert_close(terms["energy_out"].detach(), out)


def test_balanced_with_power_and_margin_zero_is_energy_margins(data: StudyData) -> None:
    _, ours, _, _ = _terms(data, "balanced_energy", prior_power=0.0, prior_margin=0.0)
    _, theirs, _, _ = _terms(data, "energy_margins")
    torch.testing.assert_close(ours["loss"], theirs["loss"])


def test_gradient_term_is_the_length_of_the_energys_gradient(data: StudyData) -> None:
    changes = {"m_in": 50.0, "m_out": 60.0, "gradient_weight": 2.0}  # all ID images meet m_in
    _, terms, batch, _ = _terms(data, "gradient_regularisation", **changes)
    images = batch.images.detach().clone().requires_grad_()
    energies = -_model().eval()(images).logsumexp(dim=1)
    (gradient,) = torch.autograd.grad(energies.sum(), images)
    norms = gradient.flatten(1).norm(dim=1)
    torch.testing.assert_close(terms["gradient_in"].detach(), norms[:16].mean())
    assert float(terms["gradient_out"].detach()) == 0.0  # no outlier lies above 60 nats
    hinges = 0.1 * (terms["energy_in"] + terms["energy_out"])
    total = terms["cross_entropy"] + hinges + 2.0 * terms["gradient_in"]
    torch.testing.assert_close(terms["loss"], total)


def test_distributional_moves_the_outliers_features_and_its_penalty(data: StudyData) -> None:
    changes = {"dal_step_size": 0.5, "dal_steps": 2, "dal_max_penalty": 3.0, "dal_rate": 0.5}
    _, terms, _, logits = _terms(data, "distributional", **changes)
    unmoved = -functional.log_softmax(logits[16:], dim=1).mean()
    assert float(terms["uniform"].detach()) > float(unmoved)
    assert 0 < float(terms["distance"]) <= 1.0
    states = [one.state.loss["augmentation.penalty"] for one in _run(data, _section(
        "distributional", **changes, dal_radius=5.0
    ))]  # fmt: skip
    assert float(states[0]) == 0.0  # from 0.03: the features move less than the radius


@pytest.mark.parametrize("loss", LOSSES)
def test_defaults_of_the_scores_do_not_depend_on_the_loss(loss: str) -> None:
    recipe = make_recipe("outliers", _section(loss))
    assert recipe.own_score == "energy"
    assert recipe.scores == ("msp", "max_logit", "energy")
    assert make_recipe("outliers", _section(loss, own_score="msp")).own_score == "msp"


def test_margins_that_were_not_measured_are_needed_by_their_losses_alone(data: StudyData) -> None:
    without = {name: value for name, value in _section("x").items() if name[:2] != "m_"}
    for loss in ("outlier_exposure", "energy_logistic", "distributional"):
        make_recipe("outliers", {**without, "loss": loss}).loss()
    for loss in ("energy_margins", "balanced_energy", "gradient_regularisation"):
        with pytest.raises(TypeError, match="margins must be resolved"):
            make_recipe("outliers", {**without, "loss": loss}).loss()


def test_linear_refuses_the_loss_that_needs_images() -> None:
    with pytest.raises(ValidationError, match="needs the gradient by the image"):
        OutlierParams(loss="gradient_regularisation", fine_tune="linear")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loss", "mse"),
        ("oe_weight", -0.1),
        ("logistic_scale", 0.0),
        ("prior_power", -1.0),
        ("prior_margin", -1.0),
        ("gradient_weight", -1.0),
        ("dal_radius", 0.0),
        ("dal_steps", 0),
        ("dal_step_size", 0.0),
        ("dal_rate", -1.0),
        ("dal_max_penalty", 0.0),
        ("outlier_weights", {}),
        ("outlier_weights", {"a": 0.0}),
        ("max_outliers", 0),
        ("max_outliers", 10),  # below the outliers of a batch
    ],
)
def test_values_outside_their_bounds_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        OutlierParams(**{name: value})


def test_shipped_spaces_train_on_outliers_and_share_seeds() -> None:
    ablation = load_space("energy_ablation").ablate
    assert ablation is not None
    assert ablation.seeds == (0, 1, 2)
    levels = {arm.levels.get("loss") for arm in ablation.arms} - {None}
    assert levels == set(LOSSES) - {"energy_margins"}
    assert load_space("outlier_exposure").train["loss"] == "outlier_exposure"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.loss=energy_logistic", "oe_weight has no effect"),
        ("train.prior_power=0.75", "prior_power has no effect"),
        ("train.dal_steps=3", "dal_steps has no effect"),
        ("train.energy_weight=0.2", "energy_weight has no effect"),
        ("train.feature_views=8", "feature_views has no effect"),
        ("train.momentum_end=0.5", "momentum_end has no effect"),
        ("train.weight_decay_end=0.5", "weight_decay_end has no effect"),
        ("train.momentum_schedule=linear", None),
        ("train.max_outliers=100", "max_outliers >= outlier_batch_size"),
        ("train.own_score=perplexity", "msp, max_logit, energy"),
    ],
)
def test_parameter_without_effect_in_a_space_is_told(override: str, told: str | None) -> None:
    if told is None:
        load_space("outlier_exposure", [override])
        return
    with pytest.raises(BadInput) as caught:
        load_space("outlier_exposure", [override])
    assert told in str(caught.value)


def test_another_loss_is_searched_as_the_space_says() -> None:
    overrides = ["train.loss=energy_logistic", "search.oe_weight=null"]
    spec = load_space(
        "outlier_exposure", [*overrides, "search.energy_weight={loguniform: [0.01, 0.3]}"]
    )
    assert spec.train["loss"] == "energy_logistic"


@pytest.mark.parametrize("detectors", [[], ["gen"]])
def test_energy_is_scored_at_the_temperature_of_the_loss(
    data: StudyData, detectors: list[str]
) -> None:
    recipe = make_recipe("energy", train_section("energy", temperature=2.5, detectors=detectors))
    model = _model().eval()
    (images, *_) = evaluation_batches(data.val_id.images, 8)
    with torch.inference_mode():
        fitted = recipe.fit(model, data, CPU)
        scores = recipe.score(model, images, fitted)[1]
        logits = model(images).double()
    wanted = -2.5 * (logits / 2.5).logsumexp(dim=1)
    np.testing.assert_allclose(scores["energy"], wanted.numpy(), rtol=1e-6)


def test_decay_that_moves_leaves_the_parameters_of_the_loss_alone(data: StudyData) -> None:
    moving = {"weight_decay": 0.1, "weight_decay_schedule": "linear", "weight_decay_end": 0.3}
    groups = _run(data, _section("energy_logistic", **moving))[-1].state.optimizer["param_groups"]
    assert groups[0]["weight_decay"] > 0.1
    assert groups[1]["weight_decay"] == 0.0
