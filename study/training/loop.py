"""One run of training, without Ray: a generator of epoch results.

Everything random in it is a function of (seed, stream, epoch), so a run that starts again from
the state after epoch e yields, from epoch e + 1 on, what the uninterrupted run yields, bit for
bit on a CPU with the same number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from study.data.batches import Batch
from study.data.roles import StudyData
from study.errors import TrialFailed
from study.recipes.base import Fitted, Moment, Recipe, TrainingLoss
from study.records.files import ValidationScores
from study.scoring.objective import OBJECTIVE, objective
from study.seeding import seed_of
from study.training.evaluation import Evaluation, evaluate
from study.training.linear import LinearTraining
from study.training.optimizers import make_optimizer
from study.training.schedules import ScheduleClock, make_schedule, make_transition

_CHECK_EVERY_STEPS = 50


@dataclass(frozen=True)
class Goal:
    """What an epoch is judged by: the metric, and the least ID accuracy (None for no floor)."""

    metric: str
    floor: float | None


@dataclass(frozen=True)
class TrainingState:
    """What a later process needs to go on after ``epoch``.

    The generators need no state of their own: they are functions of (seed, stream, epoch).
    """

    epoch: int
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    loss: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class EpochResult:
    """One trained and validated epoch.

    Attributes:
        epoch: 1-based.
        metrics: ``train/*``, ``val/*``, ``lr``, ``images_per_s`` and ``time_s`` (training and
            validation of this epoch, in seconds).
        scores: per-image validation scores of this epoch.
        state: what resumes after it.
        fitted: what the scores need beside the model.
    """

    epoch: int
    metrics: dict[str, float]
    scores: ValidationScores
    state: TrainingState
    fitted: Fitted


def train(
    recipe: Recipe,
    model: nn.Module,
    data: StudyData,
    *,
    seed: int,
    goal: Goal,
    device: torch.device,
    start: TrainingState | None = None,
) -> Iterator[EpochResult]:
    """Train ``model`` by ``recipe`` and yield after every epoch.

    Args:
        recipe: what is trained, with its parameters.
        model: from ``recipe.build_model``, with the weights to start from.
        data: the roles that training may see.
        seed: names every random stream of the run.
        goal: what ``val/objective`` measures.
        device: where to train.
        start: state to go on from; None for the beginning.

    Yields:
        One result an epoch, from the epoch after ``start`` to ``recipe.params.epochs``.

    Raises:
        TrialFailed: on a non-finite loss or unusable scores, with epoch and step.
    """
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not recipe.trains:
        yield from _as_it_is(recipe, model, data, goal, device, start)
        return
    loss = recipe.loss().to(device)
    loss.begin(model, data, device)
    setting = _setting(recipe, model, data, seed, device)
    optimizer = _optimizer(recipe, setting.module, loss)
    done = _restored(start, model, loss, optimizer) if start else 0
    clocks = _clocks(recipe, optimizer, data)
    for epoch in range(done + 1, recipe.params.epochs + 1):
        begun = time.perf_counter()
        torch.manual_seed(seed_of(seed, "dropout", epoch))  # dropout has no generator argument
        for clock in clocks:
            clock.start_epoch(epoch - 1)
        batches = setting.batches(epoch)
        metrics = _train_epoch(recipe, setting.module, loss, optimizer, clocks, batches, epoch)
        try:
            validated = setting.evaluate()
        except TrialFailed as error:
            raise TrialFailed(f"epoch {epoch}: {error}") from error
        metrics |= validated.metrics(recipe.own_score)
        metrics[OBJECTIVE] = objective(metrics, goal.metric, goal.floor)
        metrics["time_s"] = time.perf_counter() - begun
        state = _state(epoch, model, loss, optimizer)
        yield EpochResult(epoch, metrics, validated.as_epoch(epoch), state, validated.fitted)


def _as_it_is(
    recipe: Recipe,
    model: nn.Module,
    data: StudyData,
    goal: Goal,
    device: torch.device,
    start: TrainingState | None,
) -> Iterator[EpochResult]:
    """The one epoch of a recipe that trains nothing: the model scored as it is."""
    if start is not None:
        return
    begun = time.perf_counter()
    validated = evaluate(recipe, model, data, device)
    metrics = validated.metrics(recipe.own_score)
    metrics[OBJECTIVE] = objective(metrics, goal.metric, goal.floor)
    metrics["time_s"] = time.perf_counter() - begun
    state = TrainingState(1, _detached(model), {})
    yield EpochResult(1, metrics, validated.as_epoch(1), state, validated.fitted)


class _Setting(Protocol):
    """What is trained, on what, and how it is evaluated."""

    @property
    def module(self) -> nn.Module:
        """What the loss is called with, and whose parameters are trained."""

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch (1-based)."""

    def evaluate(self) -> Evaluation:
        """The validation roles, scored."""


@dataclass(frozen=True)
class _WholeModel:
    """Everything is trained, on images."""

    recipe: Recipe
    module: nn.Module
    data: StudyData
    seed: int
    device: torch.device

    def batches(self, epoch: int) -> Iterator[Batch]:
        return self.recipe.batches(self.data, seed=self.seed, epoch=epoch, device=self.device)

    def evaluate(self) -> Evaluation:
        return evaluate(self.recipe, self.module, self.data, self.device)


def _setting(
    recipe: Recipe, model: nn.Module, data: StudyData, seed: int, device: torch.device
) -> _Setting:
    kind = LinearTraining if recipe.linear else _WholeModel
    return kind(recipe, model, data, seed, device)


def _restored(
    start: TrainingState, model: nn.Module, loss: TrainingLoss, optimizer: torch.optim.Optimizer
) -> int:
    """Put everything back as it was, and say how many epochs were done by then."""
    model.load_state_dict(start.model)
    loss.load_state_dict(start.loss)
    optimizer.load_state_dict(start.optimizer)
    return start.epoch


def _optimizer(recipe: Recipe, model: nn.Module, loss: TrainingLoss) -> torch.optim.Optimizer:
    params = recipe.params
    groups: list[dict[str, Any]] = [{"params": list(model.parameters())}]
    if own := list(loss.parameters()):  # a decay would pull a learned margin or scale to zero
        groups.append({"params": own, "weight_decay": 0.0})
    return make_optimizer(
        params.optimizer,
        groups,
        lr=params.lr,
        momentum=params.momentum,
        nesterov=params.nesterov,
        weight_decay=params.weight_decay,
    )


def _clocks(
    recipe: Recipe, optimizer: torch.optim.Optimizer, data: StudyData
) -> list[ScheduleClock]:
    """The learning rate's clock, then those of momentum and weight decay where they move."""
    params = recipe.params
    steps = recipe.sampling(data).num_batches(len(data.train.images))
    unit = steps if params.scheduler_step == "batch" else 1
    schedule = make_schedule(
        params.schedule,
        total=params.epochs * unit,
        warmup=round(params.warmup_epochs * unit),
        base=params.lr,
        floor=params.min_lr,
    )
    per = params.scheduler_step
    clocks = [ScheduleClock(optimizer, schedule, per=per, steps_per_epoch=steps)]
    for key in ("momentum", "weight_decay"):
        shape = getattr(params, f"{key}_schedule")
        if shape == "constant":
            continue
        moving = make_transition(
            shape,
            total=params.epochs * unit,
            start=getattr(params, key),
            end=getattr(params, f"{key}_end"),
            rise=round(params.warmup_epochs * unit) if shape == "onecycle" else 0,
        )
        # The loss's own parameters, in the second group, have no decay.
        groups = [0] if key == "weight_decay" else None
        clocks.append(
            ScheduleClock(
                optimizer, moving, per=per, steps_per_epoch=steps, key=key, groups=groups
            )
        )
    return clocks


def _train_epoch(
    recipe: Recipe,
    model: nn.Module,
    loss: TrainingLoss,
    optimizer: torch.optim.Optimizer,
    clocks: Sequence[ScheduleClock],
    batches: Iterator[Batch],
    epoch: int,
) -> dict[str, float]:
    """One pass over ``batches``; means of the loss terms, the last rate and the speed."""
    model.train()
    loss.train()
    begun = time.perf_counter()
    sums: dict[str, torch.Tensor] = {}
    unchecked: list[torch.Tensor] = []
    norms: list[torch.Tensor] = []
    num_images = step = 0
    rate = math.nan
    for step, batch in enumerate(batches, start=1):
        rate, *_ = (clock.before_step(step - 1) for clock in clocks)
        loss.at(Moment(epoch, step - 1, clocks[0].steps_per_epoch, recipe.params.epochs))
        terms = loss(model, batch)
        optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        if recipe.logs_gradients:
            norms.append(_gradient_norm(optimizer))
        optimizer.step()
        num_images += len(batch.images)
        unchecked.append(terms["loss"].detach())
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + term.detach()
        if step % _CHECK_EVERY_STEPS == 0:
            _refuse_non_finite(unchecked, epoch, step, rate)
            unchecked.clear()
    _refuse_non_finite(unchecked, epoch, step, rate)
    means = recipe.epoch_metrics({name: float(total) / step for name, total in sums.items()})
    metrics = {f"train/{name}": mean for name, mean in means.items()} | _of_norms(norms)
    metrics["lr"] = rate
    metrics["images_per_s"] = num_images / (time.perf_counter() - begun)
    return metrics


def _gradient_norm(optimizer: torch.optim.Optimizer) -> torch.Tensor:
    """Euclidean norm of the gradient over all parameters, without dimensions."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def _of_norms(norms: list[torch.Tensor]) -> dict[str, float]:
    """Mean and greatest of the steps' gradient norms; nothing where none was taken."""
    if not norms:
        return {}
    steps = torch.stack(norms)
    mean, greatest = float(steps.mean()), float(steps.max())
    return {"train/gradient_norm": mean, "train/gradient_norm_max": greatest}


def _refuse_non_finite(losses: list[torch.Tensor], epoch: int, step: int, rate: float) -> None:
    """Look at a stretch of losses at once: a look each step would stall a GPU."""
    if not losses:
        return
    finite = torch.isfinite(torch.stack(losses)).tolist()
    if not all(finite):
        at = finite.index(False)
        value = float(losses[at])
        where = step - len(losses) + at + 1
        raise TrialFailed(f"epoch {epoch}, step {where}: loss is {value} (lr {rate:.4g})")


def _state(
    epoch: int, model: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer
) -> TrainingState:
    return TrainingState(epoch, _detached(model), optimizer.state_dict(), _detached(loss))


def _detached(module: nn.Module) -> dict[str, torch.Tensor]:
    state: Mapping[str, torch.Tensor] = module.state_dict()
    return {name: tensor.detach() for name, tensor in state.items()}
