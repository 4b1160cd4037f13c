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
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import nn

from study.data.batches import Batch, EpochDraws
from study.data.roles import StudyData
from study.device import (
    OWN_TO_DEVICE,
    in_precision,
    precision_on,
    rate_tensor,
    set_kernels,
    step_settings,
)
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
from study.scoring.path import PathPlan, where_it_leaves
from study.seeding import seed_of
from study.training.ahead import Ahead
from study.training.evaluation import Evaluation, evaluate
from study.training.linear import LinearTraining
from study.training.optimizers import make_optimizer
from study.training.path import between
from study.training.schedules import ScheduleClock, make_schedule, make_transition
from study.training.steps import GRADIENT_NORM, StaticStep, Step, TrainingStep

_CHECK_EVERY_STEPS = 50  # on a CPU; a GPU would wait for each look, and has one an epoch


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
    deterministic = isinstance(recipe, TrainingRecipe) and recipe.params.deterministic
    set_kernels(device, deterministic=deterministic)
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
    captured = _captures(recipe.params, loss, device)
    optimizer = _optimizer(recipe.params, feed.module, loss, device, captured=captured)
    if start is not None:
        model.load_state_dict(start.model)
        loss.load_state_dict(start.loss)
        _load(optimizer, start.optimizer)
    if captured:  # what a graph reads at each step is a tensor
        for group in optimizer.param_groups:
            group["lr"] = rate_tensor(float(group["lr"]), device)
    steps = recipe.sampling(data).num_batches(len(data.train.images))
    clocks = schedule_clocks(recipe.params, optimizer, steps)
    given = in_precision(feed.module, precision_on(recipe.params.precision, device))
    plain = TrainingStep(given, loss, optimizer, logs_gradients=recipe.logs_gradients)
    step = StaticStep(plain, device) if captured else plain
    trainer = _Trainer(recipe, feed.module, loss, step, clocks, device)
    of_base: State | None = None

    def scored(alpha: float, weights: dict[str, torch.Tensor]) -> State:
        if path is not None:
            model.load_state_dict(weights)
        validated = feed.evaluate()
        return State(alpha, goal.judged(validated, recipe.own_score), validated, weights)

    def at(alpha: float) -> State:
        return scored(alpha, between(base, state.model, alpha))

    for epoch in range(start.epoch + 1 if start else 1, recipe.params.epochs + 1):
        begun = time.perf_counter()
        torch.manual_seed(seed_of(seed, "dropout", epoch))  # dropout has no generator argument
        metrics = trainer.train(feed.batches(epoch), epoch)
        state = TrainingState(epoch, _detached(model), optimizer.state_dict(), _detached(loss))
        alphas = path.scored_at(epoch, recipe.params.epochs) if path else ()
        if alphas:  # copied: others take its place in the model
            state = replace(state, model=between({}, state.model, 1.0))
        try:
            if alphas and of_base is None:
                of_base = scored(0.0, base)
            states = [of_base] if alphas and of_base else []
            states += [at(alpha) for alpha in alphas]
            states.append(scored(1.0, state.model))
            for _ in range(path.halvings if path and alphas else 0):
                passes = ((one.alpha, not standing(one.metrics)[0]) for one in states)
                if (alpha := where_it_leaves(passes)) is None:
                    break
                states.append(at(alpha))
        except TrialFailed as error:
            raise TrialFailed(f"epoch {epoch}: {error}") from error
        if alphas:  # training goes on with these weights
            model.load_state_dict(state.model)
        states.sort(key=lambda one: one.alpha)
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

    @cached_property
    def _drawn(self) -> Ahead[EpochDraws]:
        draw = partial(self.recipe.drawn, self.data, seed=self.seed)
        # A CPU has no time to spare beside its training.
        last = 0 if self.device.type == "cpu" else self.recipe.params.epochs
        return Ahead(lambda epoch: draw(epoch=epoch), last)

    def batches(self, epoch: int) -> Iterator[Batch]:
        drawn = self._drawn(epoch)
        return self.recipe.batches(
            self.data, seed=self.seed, epoch=epoch, device=self.device, drawn=drawn
        )

    def evaluate(self) -> Evaluation:
        return evaluate(self.recipe, self.module, self.data, self.device)


def _captures(params: TrainParams, loss: TrainingLoss, device: torch.device) -> bool:
    """Whether the steps are made to be one CUDA graph, here or as a CPU runs it.

    Raises:
        TrialFailed: where that is asked for of a loss that does not allow it.
    """
    if params.graph != "auto":
        if params.graph and not loss.captured:
            name = type(loss).__module__
            raise TrialFailed(f"{name} does not say that it can be captured; set graph: auto")
        return params.graph
    moving = {params.momentum_schedule, params.weight_decay_schedule} != {"constant"}
    return device.type == "cuda" and loss.captured and not moving


def _optimizer(
    params: TrainParams,
    model: nn.Module,
    loss: TrainingLoss,
    device: torch.device,
    *,
    captured: bool,
) -> torch.optim.Optimizer:
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
        **step_settings(params.optimizer, device, captured=captured),
    )


def _load(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take an optimizer's state, but not how its steps were taken where it was saved."""
    own = {key: optimizer.defaults[key] for key in OWN_TO_DEVICE if key in optimizer.defaults}
    groups = [
        {**group, **own, "lr": float(group["lr"])}  # of a graph it was a tensor
        for group in state["param_groups"]
    ]
    optimizer.load_state_dict({**state, "param_groups": groups})


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
    step: Step
    clocks: Sequence[ScheduleClock]
    device: torch.device

    def train(self, batches: Iterator[Batch], epoch: int) -> dict[str, float]:
        """One pass over ``batches``; means of the loss terms, the last rate and the speed.

        The host looks at no value before the pass is over, but on a CPU.
        """
        self.model.train()
        self.loss.train()
        for clock in self.clocks:
            clock.start_epoch(epoch - 1)
        begun = time.perf_counter()
        every = _CHECK_EVERY_STEPS if self.device.type == "cpu" else math.inf
        rows: list[torch.Tensor] = []
        num_images = step = 0
        rate = math.nan
        for step, batch in enumerate(batches, start=1):
            rate, *_ = (clock.before_step(step - 1) for clock in self.clocks)
            steps = self.clocks[0].steps_per_epoch
            self.loss.at(Moment(epoch, step - 1, steps, self.recipe.params.epochs))
            rows.append(self.step(batch))
            num_images += len(batch.images)
            if step % every == 0:
                self._refuse_non_finite(torch.stack(rows[-_CHECK_EVERY_STEPS:]), epoch, step, rate)
        told = torch.stack(rows).cpu()
        self._refuse_non_finite(told, epoch, step, rate)
        metrics = self._means(told)
        metrics["lr"] = rate
        metrics["images_per_s"] = num_images / (time.perf_counter() - begun)
        return metrics

    def _means(self, told: torch.Tensor) -> dict[str, float]:
        """``train/*`` of an epoch's steps, (steps, terms)."""
        columns = dict(zip(self.step.names, told.T.contiguous(), strict=True))
        norms = columns.pop(GRADIENT_NORM, None)
        # The sum is taken in the steps' order, as it always was.
        sums = {name: float(one.numpy().cumsum()[-1]) for name, one in columns.items()}
        means = {name: total / len(told) for name, total in sums.items()}
        metrics = {f"train/{name}": one for name, one in self.recipe.epoch_metrics(means).items()}
        if norms is not None:
            metrics["train/gradient_norm"] = float(norms.mean())
            metrics["train/gradient_norm_max"] = float(norms.max())
        return metrics

    def _refuse_non_finite(self, told: torch.Tensor, epoch: int, step: int, rate: float) -> None:
        """Look at the losses of the steps up to ``step``, (steps, terms)."""
        losses = told[:, self.step.names.index("loss")]
        finite = torch.isfinite(losses).tolist()
        if not all(finite):
            at = finite.index(False)
            where = step - len(losses) + at + 1
            value = float(losses[at])
            raise TrialFailed(f"epoch {epoch}, step {where}: loss is {value} (lr {rate:.4g})")


def _detached(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach() for name, tensor in module.state_dict().items()}
