"""One run of training, without Ray: a generator of epoch results.

Everything random in it is a function of (seed, stream, epoch), so a run that starts again from
the state after epoch e yields, from epoch e + 1 on, what the uninterrupted run yields, bit for
bit on a CPU with the same number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from study.data.batches import Batch
from study.data.roles import StudyData
from study.errors import TrialFailed
from study.recipes.base import Fitted, Moment, Recipe, TrainingLoss, TrainingRecipe
from study.recipes.classifier import ClassifierRecipe
from study.recipes.params import TrainParams, TrialParams
from study.records.scores import ValidationScores
from study.scoring.floor import Floor
from study.scoring.objective import (
    ALPHA,
    FLOOR_HOLDS,
    OBJECTIVE,
    PENALTY,
    SHORTFALL,
    objective,
    standing,
)
from study.scoring.path import PathPlan
from study.seeding import seed_of
from study.training.evaluation import Evaluation, evaluate
from study.training.linear import LinearTraining
from study.training.optimizers import make_optimizer
from study.training.path import between
from study.training.schedules import ScheduleClock, make_schedule, make_transition

_CHECK_EVERY_STEPS = 50


@dataclass(frozen=True)
class Goal:
    """What a state of a model is judged by.

    Attributes:
        metric: such as ``val/fpr95``.
        floor: on ID accuracy; None without one.
        penalty: cost of a percentage point under the floor, see `study.scoring.objective`.
    """

    metric: str
    floor: Floor | None
    penalty: float | None = PENALTY

    def judged(self, validated: Evaluation, own_score: str) -> dict[str, float]:
        """Metrics of one state, with how it stands to the floor and val/objective."""
        metrics = validated.metrics(own_score)
        if self.floor is not None:
            images = validated.id.images
            judged = self.floor.judge(validated.id.prediction == images.labels, images.groups)
            metrics |= {FLOOR_HOLDS: judged.holds, SHORTFALL: judged.shortfall}
        metrics[OBJECTIVE] = objective(metrics, self.metric, self.penalty)
        return metrics


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
class State:
    """One set of weights of a trial that was scored: a point of an epoch's path.

    Attributes:
        alpha: place on the path from the base; 1 as trained.
        metrics: ``val/*``.
        validated: per-image validation scores, and what they need beside the model.
        weights: state dict of the model.
    """

    alpha: float
    metrics: dict[str, float]
    validated: Evaluation
    weights: dict[str, torch.Tensor]


@dataclass(frozen=True)
class EpochResult:
    """One trained and validated epoch.

    Attributes:
        epoch: 1-based.
        metrics: ``train/*``, ``lr``, ``images_per_s`` and ``time_s`` (training and validation of
            this epoch, in seconds), and ``val/*`` of the best state.
        states: what was scored, the lowest alpha first; without a path the trained weights alone.
        best: the one that stands for the epoch.
        state: what resumes after it.
    """

    epoch: int
    metrics: dict[str, float]
    states: tuple[State, ...]
    best: State
    state: TrainingState

    @property
    def fitted(self) -> Fitted:
        """What the scores of the best state need beside the model."""
        return self.best.validated.fitted

    @property
    def scores(self) -> ValidationScores:
        """Per-image validation scores of the states."""
        scores = ValidationScores(np.empty(0, np.int32))
        for one in self.states:
            scores = scores.followed_by(one.validated.as_epoch(self.epoch, alpha=one.alpha))
        return scores


def train(
    recipe: Recipe[TrialParams],
    model: nn.Module,
    data: StudyData,
    *,
    seed: int,
    goal: Goal,
    device: torch.device,
    start: TrainingState | None = None,
    path: PathPlan | None = None,
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
        path: which points between the weights of ``model`` and the trained ones are scored too;
            None for no others.

    Yields:
        One result an epoch, from the epoch after ``start`` to ``recipe.params.epochs``.

    Raises:
        TrialFailed: on a non-finite loss or unusable scores, with epoch and step.
    """
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    if not isinstance(recipe, TrainingRecipe) or not recipe.params.trains:  # scored as it is
        if start is None:
            begun = time.perf_counter()
            validated = evaluate(recipe, model, data, device)
            state = TrainingState(1, _detached(model), {})
            one = State(1.0, goal.judged(validated, recipe.own_score), validated, state.model)
            yield _result({}, (one,), state, begun)
        return
    base = between({}, _detached(model), 1.0) if path else {}  # copied: the model moves on
    loss = recipe.loss().to(device)
    loss.begin(model, data, device)
    feed: LinearTraining | _WholeModel
    if isinstance(recipe, ClassifierRecipe) and recipe.params.fine_tune == "linear":
        feed = LinearTraining(recipe, model, data, seed, device)
    else:
        feed = _WholeModel(recipe, model, data, seed, device)
    optimizer = _optimizer(recipe.params, feed.module, loss)
    if start is not None:
        model.load_state_dict(start.model)
        loss.load_state_dict(start.loss)
        optimizer.load_state_dict(start.optimizer)
    steps = recipe.sampling(data).num_batches(len(data.train.images))
    clocks = schedule_clocks(recipe.params, optimizer, steps)
    trainer = _Trainer(recipe, feed.module, loss, optimizer, clocks)
    of_base: State | None = None

    def scored(alpha: float, weights: dict[str, torch.Tensor]) -> State:
        if path is not None:
            model.load_state_dict(weights)
        validated = feed.evaluate()
        return State(alpha, goal.judged(validated, recipe.own_score), validated, weights)

    for epoch in range(start.epoch + 1 if start else 1, recipe.params.epochs + 1):
        begun = time.perf_counter()
        torch.manual_seed(seed_of(seed, "dropout", epoch))  # dropout has no generator argument
        metrics = trainer.train(feed.batches(epoch), epoch)
        state = TrainingState(epoch, _detached(model), optimizer.state_dict(), _detached(loss))
        alphas = path.scored_at(epoch, recipe.params.epochs) if path else ()
        if alphas:  # copied: others take its place in the model
            state = replace(state, model=between({}, state.model, 1.0))
        states = []
        try:
            if alphas and of_base is None:
                of_base = scored(0.0, base)
            states += [of_base] if alphas and of_base else []
            states += [scored(alpha, between(base, state.model, alpha)) for alpha in alphas]
            states.append(scored(1.0, state.model))  # last: training goes on with these weights
        except TrialFailed as error:
            raise TrialFailed(f"epoch {epoch}: {error}") from error
        yield _result(metrics, tuple(states), state, begun, of_path=path is not None)


def _result(
    trained: dict[str, float],
    states: tuple[State, ...],
    state: TrainingState,
    begun: float,
    *,
    of_path: bool = False,
) -> EpochResult:
    """An epoch's result; of states that are as good the one nearest to the trained weights."""
    best = min(reversed(states), key=lambda one: standing(one.metrics))
    metrics = trained | best.metrics | ({ALPHA: best.alpha} if of_path else {})
    metrics["time_s"] = time.perf_counter() - begun
    return EpochResult(state.epoch, metrics, states, best, state)


@dataclass(frozen=True)
class _WholeModel:
    """Everything is trained, on images; `LinearTraining` is the other way."""

    recipe: TrainingRecipe[TrainParams]
    module: nn.Module
    data: StudyData
    seed: int
    device: torch.device

    def batches(self, epoch: int) -> Iterator[Batch]:
        return self.recipe.batches(self.data, seed=self.seed, epoch=epoch, device=self.device)

    def evaluate(self) -> Evaluation:
        return evaluate(self.recipe, self.module, self.data, self.device)


def _optimizer(params: TrainParams, model: nn.Module, loss: TrainingLoss) -> torch.optim.Optimizer:
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


def schedule_clocks(
    params: TrainParams, optimizer: torch.optim.Optimizer, steps_per_epoch: int
) -> list[ScheduleClock]:
    """The learning rate's clock, then those of momentum and weight decay where they move."""
    per = params.scheduler_step
    unit = steps_per_epoch if per == "batch" else 1
    total, warmup = params.epochs * unit, round(params.warmup_epochs * unit)

    def clock(schedule: Callable[[int], float], **of: Any) -> ScheduleClock:
        return ScheduleClock(optimizer, schedule, per=per, steps_per_epoch=steps_per_epoch, **of)

    rate = make_schedule(
        params.schedule, total=total, warmup=warmup, base=params.lr, floor=params.min_lr
    )
    clocks = [clock(rate)]
    momentum = params.momentum_schedule, params.momentum, params.momentum_end
    decay = params.weight_decay_schedule, params.weight_decay, params.weight_decay_end
    # The loss's own parameters, in the second group, have no decay.
    for key, groups, (shape, start, end) in (
        ("momentum", None, momentum),
        ("weight_decay", [0], decay),
    ):
        if shape != "constant":
            rise = warmup if shape == "onecycle" else 0
            moving = make_transition(shape, total=total, start=start, end=end, rise=rise)
            clocks.append(clock(moving, key=key, groups=groups))
    return clocks


@dataclass(frozen=True)
class _Trainer:
    """What an epoch's steps act on."""

    recipe: TrainingRecipe[TrainParams]
    model: nn.Module
    loss: TrainingLoss
    optimizer: torch.optim.Optimizer
    clocks: Sequence[ScheduleClock]

    def train(self, batches: Iterator[Batch], epoch: int) -> dict[str, float]:
        """One pass over ``batches``; means of the loss terms, the last rate and the speed."""
        self.model.train()
        self.loss.train()
        for clock in self.clocks:
            clock.start_epoch(epoch - 1)
        begun = time.perf_counter()
        sums: dict[str, torch.Tensor] = {}
        unchecked: list[torch.Tensor] = []
        norms: list[torch.Tensor] = []
        num_images = step = 0
        rate = math.nan
        for step, batch in enumerate(batches, start=1):
            rate, *_ = (clock.before_step(step - 1) for clock in self.clocks)
            steps = self.clocks[0].steps_per_epoch
            self.loss.at(Moment(epoch, step - 1, steps, self.recipe.params.epochs))
            terms = self.loss(self.model, batch)
            self.optimizer.zero_grad(set_to_none=True)
            terms["loss"].backward()
            if self.recipe.logs_gradients:
                norms.append(_gradient_norm(self.optimizer))
            self.optimizer.step()
            num_images += len(batch.images)
            unchecked.append(terms["loss"].detach())
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.detach()
            if step % _CHECK_EVERY_STEPS == 0:
                _refuse_non_finite(unchecked, epoch, step, rate)
                unchecked.clear()
        _refuse_non_finite(unchecked, epoch, step, rate)
        means = {name: float(total) / step for name, total in sums.items()}
        told = self.recipe.epoch_metrics(means).items()
        metrics = {f"train/{name}": mean for name, mean in told} | _of_norms(norms)
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
    finite = torch.isfinite(torch.stack(losses)).tolist() if losses else []
    if not all(finite):
        at = finite.index(False)
        value = float(losses[at])
        where = step - len(losses) + at + 1
        raise TrialFailed(f"epoch {epoch}, step {where}: loss is {value} (lr {rate:.4g})")


def _detached(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach() for name, tensor in module.state_dict().items()}
