from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study.data.batches import Batch
from study.data.roles import StudyData, TrainID
from study.errors import TrialFailed
from study.recipes.base import Recipe, TrainingLoss
from study.recipes.classifier import ClassifierRecipe
from study.recipes.classifier_params import ClassifierParams
from study.recipes.registry import make_recipe
from study.training.loop import EpochResult, Goal, TrainingState, schedule_clocks, train
from study.training.schedules import make_schedule
from tests.toys import toy_data, toy_images, train_section

GOAL = Goal("val/fpr95", None)
CPU = torch.device("cpu")
WALL_CLOCK = ("time_s", "images_per_s")
KINDS = [
    ("classifier", "resnet20", 0.0, {}),
    ("energy", "resnet20", 0.0, {"augment": "crop_flip", "outlier_order": "window"}),
    ("classifier", "wrn_16_2", 0.3, {"scheduler_step": "epoch", "schedule": "step"}),
]


@pytest.fixture(scope="module")
def data() -> StudyData:
    return toy_data()


def _run(
    data: StudyData,
    recipe: Recipe,
    *,
    backbone: str = "resnet20",
    dropout: float = 0.0,
    seed: int = 7,
    start: TrainingState | None = None,
) -> Iterator[EpochResult]:
    model = recipe.build_model(backbone, 3, dropout=dropout, image_size=8, seed=seed)
    return train(recipe, model, data, seed=seed, goal=GOAL, device=CPU, start=start)


def _numbers(result: EpochResult) -> dict[str, float]:
    return {name: value for name, value in result.metrics.items() if name not in WALL_CLOCK}


def _same(one: EpochResult, two: EpochResult) -> None:
    """Every bit of two epochs: metrics, scores, weights, momentum."""
    assert _numbers(one) == _numbers(two)
    for name, values in one.scores.sets.items():
        for score, array in values.scores.items():
            assert array.tobytes() == two.scores.sets[name].scores[score].tobytes()
    assert one.state.model.keys() == two.state.model.keys()
    for name, tensor in one.state.model.items():
        assert torch.equal(tensor, two.state.model[name]), name
    for slot, momentum in one.state.optimizer["state"].items():
        other = two.state.optimizer["state"][slot]["momentum_buffer"]
        assert torch.equal(momentum["momentum_buffer"], other)


@pytest.mark.parametrize(("name", "backbone", "dropout", "changes"), KINDS)
def test_run_resumed_from_an_epochs_state_goes_on_bit_for_bit(
    data: StudyData, name: str, backbone: str, dropout: float, changes: dict[str, Any]
) -> None:
    recipe = make_recipe(name, train_section(name, epochs=3, **changes))
    settings: dict[str, Any] = {"backbone": backbone, "dropout": dropout}
    whole = [copy.deepcopy(one) for one in _run(data, recipe, **settings)]
    assert [one.epoch for one in whole] == [1, 2, 3]
    torch.rand(5)  # where the global generator stands must not matter
    resumed = list(_run(data, recipe, start=whole[0].state, **settings))
    assert [one.epoch for one in resumed] == [2, 3]
    _same(whole[2], resumed[1])
    # A dropout or an order that were the same in each epoch would also pass what is above.
    assert whole[1].metrics["train/loss"] != whole[2].metrics["train/loss"]


def test_runs_with_one_seed_are_equal_and_with_another_differ(data: StudyData) -> None:
    recipe = make_recipe("energy", train_section("energy", epochs=1))
    one, same, other = (next(_run(data, recipe, seed=seed)) for seed in (1, 1, 2))
    _same(one, same)
    assert _numbers(one) != _numbers(other)


def test_training_leaves_a_finished_run_with_nothing_to_do(data: StudyData) -> None:
    recipe = make_recipe("classifier", train_section(epochs=1))
    last = copy.deepcopy(list(_run(data, recipe))[-1])
    assert list(_run(data, recipe, start=last.state)) == []


def test_schedule_moves_every_batch_or_holds_still_for_an_epoch(data: StudyData) -> None:
    rates = {}
    for step in ("batch", "epoch"):
        section = train_section(lr=0.05, schedule="cosine", scheduler_step=step)
        results = list(_run(data, make_recipe("classifier", section)))
        rates[step] = [one.metrics["lr"] for one in results]
    # 60 images in batches of 16: 4 steps an epoch, 8 in all; the last rate of each epoch.
    cosine = [0.025 * (1 + math.cos(math.pi * t / 8)) for t in (3, 7)]
    assert rates["batch"] == pytest.approx(cosine)
    assert rates["epoch"] == pytest.approx([0.05, 0.025])


@pytest.mark.parametrize("step", ["batch", "epoch"])
def test_momentum_and_weight_decay_move_with_the_learning_rate(data: StudyData, step: str) -> None:
    changes = {"momentum_schedule": "cosine", "weight_decay_schedule": "linear"}
    ends = {"momentum_end": 0.5, "weight_decay": 0.01, "weight_decay_end": 0.05}
    recipe = make_recipe("classifier", train_section(scheduler_step=step, **changes, **ends))
    (group,) = list(_run(data, recipe))[-1].state.optimizer["param_groups"]
    # 60 images in batches of 16: the last of 8 steps, or the second of two epochs.
    share = 7 / 8 if step == "batch" else 1 / 2
    cosine = (1 + math.cos(math.pi * share)) / 2
    assert group["momentum"] == pytest.approx(0.5 + 0.4 * cosine)
    assert group["weight_decay"] == pytest.approx(0.01 + 0.04 * share)


def test_run_with_all_schedules_resumed_goes_on_bit_for_bit(data: StudyData) -> None:
    changes = {"momentum_schedule": "onecycle", "weight_decay_schedule": "cosine"}
    section = train_section(epochs=3, schedule="onecycle", momentum_end=0.8, **changes)
    whole = [copy.deepcopy(one) for one in _run(data, make_recipe("classifier", section))]
    resumed = list(_run(data, make_recipe("classifier", section), start=whole[0].state))
    _same(whole[2], resumed[1])


def test_constant_momentum_and_decay_have_no_clock() -> None:
    recipe = make_recipe("classifier", train_section())
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    assert len(schedule_clocks(recipe.params, optimizer, 4)) == 1


def test_max_outliers_trains_on_those_alone(data: StudyData) -> None:
    section = train_section("energy", max_outliers=16, outlier_order="window")
    recipe = make_recipe("energy", section)
    seen = set()
    for epoch in (1, 2):
        for batch in recipe.batches(data, seed=7, epoch=epoch, device=CPU):
            seen |= {bytes(image.numpy()) for image in batch.images[batch.num_id :]}
    assert len(seen) == 16


def test_optimizer_has_what_the_parameters_say(data: StudyData) -> None:
    section = train_section(epochs=1, momentum=0.5, nesterov=False, weight_decay=0.01)
    (group,) = next(_run(data, make_recipe("classifier", section))).state.optimizer["param_groups"]
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.5, False, 0.01)


def test_batchnorm_statistics_move_in_training_and_rest_in_validation(data: StudyData) -> None:
    result = list(_run(data, make_recipe("classifier", train_section(epochs=2))))[-1]
    counts = [v for k, v in result.state.model.items() if k.endswith("num_batches_tracked")]
    assert {int(count) for count in counts} == {8}
    means = [v for k, v in result.state.model.items() if k.endswith("running_mean")]
    assert all(mean.abs().max() > 0 for mean in means)


def test_metrics_of_an_epoch_name_loss_terms_speed_and_objective(data: StudyData) -> None:
    result = next(_run(data, make_recipe("energy", train_section("energy"))))
    terms = {"loss", "cross_entropy", "energy_in", "energy_out"}
    assert {f"train/{term}" for term in terms} <= result.metrics.keys()
    assert {"lr", "images_per_s", "time_s", "val/objective"} <= result.metrics.keys()
    assert result.metrics["val/objective"] == result.metrics["val/fpr95"]
    weighted = 0.1 * (result.metrics["train/energy_in"] + result.metrics["train/energy_out"])
    total = result.metrics["train/cross_entropy"] + weighted
    assert result.metrics["train/loss"] == pytest.approx(total, rel=1e-5)


class _Scaled(TrainingLoss):
    """Cross-entropy of logits times a learned scale; not a number in its ``bad_step``-th call."""

    def __init__(self, bad_step: int | None) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.calls = 0
        self.bad_step = bad_step

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        self.calls += 1
        loss = nn.functional.cross_entropy(self.scale * model(batch.images), batch.labels)
        return {"loss": loss * math.nan if self.calls == self.bad_step else loss}


class _ScaledRecipe(ClassifierRecipe[ClassifierParams]):
    def __init__(self, bad_step: int | None = None, **changes: Any) -> None:
        super().__init__(ClassifierParams.model_validate(train_section(**changes)))
        self.bad_step = bad_step

    def build_model(self, *_: Any, seed: int, **__: Any) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 3))

    def loss(self) -> nn.Module:
        return _Scaled(self.bad_step)


@pytest.mark.parametrize(
    ("bad_step", "batch_size", "told"),
    [
        (6, 16, r"epoch 2, step 2: loss is nan \(lr 0\.05\)"),
        (13, 2, "epoch 1, step 13: loss is nan"),
        (73, 2, "epoch 1, step 73: loss is nan"),
    ],
)
def test_loss_that_is_not_finite_fails_the_trial_with_epoch_and_step(
    data: StudyData, bad_step: int, batch_size: int, told: str
) -> None:
    images = 60 if batch_size == 16 else 160
    larger = copy.copy(data)
    object.__setattr__(larger, "train", TrainID(toy_images("train", images, classes=3)))
    recipe = _ScaledRecipe(bad_step, batch_size=batch_size, schedule="constant")
    with pytest.raises(TrialFailed, match=told):
        list(_run(larger, recipe))


def test_parameters_of_the_loss_are_trained_and_come_back(data: StudyData) -> None:
    recipe = _ScaledRecipe(epochs=3)
    whole = [copy.deepcopy(one) for one in _run(data, recipe)]
    scales = [float(one.state.loss["scale"]) for one in whole]
    assert len({1.0, *scales}) == 4
    resumed = list(_run(data, recipe, start=whole[0].state))
    assert float(resumed[-1].state.loss["scale"]) == scales[-1]
    _same(whole[-1], resumed[-1])


@pytest.mark.parametrize("step", ["batch", "epoch"])
def test_learning_rate_warms_up_and_falls_to_its_floor(data: StudyData, step: str) -> None:
    changes = {"epochs": 3, "warmup_epochs": 1, "min_lr": 0.01, "scheduler_step": step}
    recipe = make_recipe("classifier", train_section(lr=0.05, schedule="cosine", **changes))
    rates = [one.metrics["lr"] for one in _run(data, recipe)]
    # 60 images in batches of 16: the last of 4 steps an epoch, or the epoch.
    (total, warmup), last = ((12, 4), (3, 7, 11)) if step == "batch" else ((3, 1), (0, 1, 2))
    rate = make_schedule("cosine", total=total, warmup=warmup, base=0.05, floor=0.01)
    assert rates == pytest.approx([rate(t) for t in last])
    assert rates[0] == pytest.approx(0.05 * (last[0] + 1) / (warmup + 1))
    assert rates[-1] > 0.01


class _Drawing(_Scaled):
    """Notes what it draws from the global generator, as dropout draws."""

    def __init__(self) -> None:
        super().__init__(None)
        self.drawn: list[float] = []

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        self.drawn.append(float(torch.rand(())))
        return super().forward(model, batch)


def test_dropout_draws_anew_in_every_epoch(
    data: StudyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, loss = _ScaledRecipe(batch_size=60, epochs=3), _Drawing()
    monkeypatch.setattr(recipe, "loss", lambda: loss)
    list(_run(data, recipe))
    assert len(set(loss.drawn)) == 3


_STATIC: list[tuple[str, dict[str, Any]]] = [
    ("classifier", {"augment": "crop_flip", "optimizer": "adam", "nesterov": False}),
    ("energy", {"fine_tune": "linear"}),
    ("outliers", {"loss": "distributional"}),
    ("outliers", {"loss": "gradient_regularisation"}),
    ("nordf", {"width": 8, "branch_channels": 8, "decoder_blocks": 0, "bank_images": 40,
               "perceptual_network": None, "reversal": "dann", "nesterov": False}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes"), _STATIC)
def test_static_tensors_give_the_bits_of_the_plain_step(
    data: StudyData, name: str, changes: dict[str, Any]
) -> None:
    # 60 images in batches of 16: the last one is of another shape.
    of = "energy" if name in ("energy", "outliers") else "classifier"
    sections = [train_section(of, **changes, graph=graph) for graph in (False, True)]
    plain, static = (
        list(_run(data, make_recipe(name, section), dropout=0.0))[-1] for section in sections
    )
    assert _numbers(plain) == _numbers(static)
    for key, tensor in plain.state.model.items():
        assert torch.equal(tensor, static.state.model[key]), key


def test_run_with_static_tensors_is_resumed_bit_for_bit(data: StudyData) -> None:
    recipe = make_recipe("energy", train_section("energy", epochs=3, graph=True))
    whole = [copy.deepcopy(one) for one in _run(data, recipe)]
    resumed = list(_run(data, recipe, start=whole[0].state))
    assert _numbers(whole[2]) == _numbers(resumed[1])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_run_that_began_on_a_gpu_goes_on_here(data: StudyData, optimizer: str) -> None:
    changes = {"optimizer": optimizer, "nesterov": optimizer == "sgd"}
    recipe = make_recipe("classifier", train_section(**changes))
    whole = [copy.deepcopy(one) for one in _run(data, recipe)]
    start = copy.deepcopy(whole[0].state)
    for group in start.optimizer["param_groups"]:  # as a GPU saves them
        group |= {"fused": True, "lr": torch.tensor(group["lr"], dtype=torch.float64)}
        group |= {"capturable": True} if optimizer == "adam" else {}
    (resumed,) = _run(data, recipe, start=start)
    assert _numbers(whole[1]) == _numbers(resumed)
    for group, here in zip(
        resumed.state.optimizer["param_groups"],
        whole[1].state.optimizer["param_groups"],
        strict=True,
    ):
        assert group == here  # steps taken as this device takes them


def test_graph_that_is_asked_for_of_a_loss_that_does_not_allow_it_is_refused(
    data: StudyData,
) -> None:
    class Undeclared(TrainingLoss):
        """A loss of a user's own."""

    class Own(ClassifierRecipe[ClassifierParams]):
        """Trains by it."""

        def loss(self) -> TrainingLoss:
            return Undeclared()

    recipe = Own(ClassifierParams.model_validate(train_section(graph=True)))
    with pytest.raises(TrialFailed, match="set graph: auto"):
        next(_run(data, recipe))


def test_bf16_on_a_cpu_trains_near_fp32_and_scores_in_fp32(data: StudyData) -> None:
    found = [
        next(_run(data, make_recipe("energy", train_section("energy", precision=one))))
        for one in ("fp32", "bf16")
    ]
    losses = [one.metrics["train/loss"] for one in found]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    energies = found[1].scores.sets["far"].scores["energy"]
    assert len(set(energies.ravel().tolist())) == energies.size  # bf16 has 8 bits: ties
    assert {one.dtype for one in found[1].state.model.values()} == {torch.float32, torch.int64}
