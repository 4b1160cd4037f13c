"""Schedules as pure functions of the step, and the clock that applies them to an optimizer.

Every schedule is ``floor + (base - floor) * shape(t)`` with a shape in [0, 1], after a warm-up of
``base * ramp(t)``. t counts from 0; the value at t is the one that step t itself uses, so the
first step uses the first value. ``total`` is the end point: the value there (the floor, for all
shapes that fall) is used by no step, as in torch's CosineAnnealingLR.

Annealing by a multiplicative factor (LambdaLR) and annealing the rate itself (CosineAnnealingLR)
are the same thing; a test holds that over 3,910 steps. What does differ is stepping per batch or
per epoch, and a rate that is stepped before the first optimizer step and so skips the first value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal, TypeVar

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

Number = TypeVar("Number", float, "Tensor")
Per = Literal["epoch", "batch"]

_BETAS: Final = "betas"
_ONECYCLE_START: Final = 1 / 25
_ONECYCLE_RISE: Final = 0.3
_MILESTONES: Final = (0.5, 0.75)
_DECAY: Final = 0.1

SCHEDULES: Final = ("cosine", "onecycle", "constant", "linear", "step")
"""Names of the schedules."""


def make_schedule(
    name: str, *, total: int, base: Number, warmup: int = 0, floor: Number | float = 0.0
) -> Callable[[int], Number]:
    """The value at each step.

    - cosine: from ``base`` along half a cosine towards ``floor`` at ``total``.
    - linear: the same along a line.
    - constant: ``base``; ``floor`` plays no part.
    - step: the distance to ``floor`` is a tenth at half and again at three quarters of ``total``.
    - onecycle: from ``base / 25`` up half a cosine to ``base``, then down half a cosine towards
      ``floor`` (Smith & Topin 2018, arXiv:1708.07120, with torch's defaults). The rise takes
      ``warmup`` steps, 30 % of ``total`` where that is 0.

    The warm-up of the others is a line: ``base * (t + 1) / (warmup + 1)``, so that no step has
    rate 0 and the first step after it has rate ``base``.

    Args:
        name: one of `SCHEDULES`.
        total: number of steps, batches or epochs, whichever the clock counts; >= 1.
        base: the peak value, > 0, a float or a tensor without dimensions.
        warmup: steps of warm-up, 0 <= warmup < ``total``.
        floor: the value to fall to, 0 <= floor <= ``base``, a float or a tensor.

    Returns:
        A function of t, 0 <= t <= ``total``, of the type of ``base``; a ValueError outside that
        range: a schedule that runs on past its end would rise again or stay at rest in silence.

    Raises:
        ValueError: naming every argument that breaks its rule; tensors are not looked into.
    """
    _check(name, total, warmup, base, floor)
    warmup = _rise(name, total, warmup)
    shape = _shape(name, warmup, total)

    def value(t: int) -> Number:
        _check_step(t, total)
        if t < warmup:
            return base * (_onecycle_ramp if name == "onecycle" else _ramp)(t, warmup)
        return floor + (base - floor) * shape(t)

    return value


def make_transition(
    name: str, *, total: int, start: float, end: float, rise: int = 0
) -> Callable[[int], float]:
    """What else moves in the course of a run: momentum, weight decay. It may rise as well as fall.

    ``end + (start - end) * shape(t)`` with the shapes of `make_schedule`. onecycle goes from
    ``start`` to ``end`` while a one-cycle rate rises, and back while that falls: the momentum of
    Smith & Topin 2018 (arXiv:1708.07120), as torch's OneCycleLR has it.

    Args:
        name: one of `SCHEDULES`.
        total: number of steps, batches or epochs, whichever the clock counts; >= 1.
        start: the value at step 0, >= 0.
        end: the value to go to, >= 0; of constant it plays no part.
        rise: of onecycle, steps until ``end``; 30 % of ``total`` where that is 0.

    Returns:
        A function of t, 0 <= t <= ``total``; a ValueError outside that range.

    Raises:
        ValueError: naming every argument that breaks its rule.
    """
    _check(name, total, rise, max(start, end) or 1.0, min(start, end))
    rise = _rise(name, total, rise) if name == "onecycle" else 0
    shape = _shape(name, rise, total)

    def value(t: int) -> float:
        _check_step(t, total)
        if name == "onecycle":
            there = _cosine(t, 0, rise) if t < rise else 1 - shape(t)
        else:
            there = shape(t)
        return end + (start - end) * there

    return value


def _shape(name: str, after: int, total: int) -> Callable[[int], float]:
    """From 1 at the step ``after`` to 0 at ``total``, or as far as the schedule goes."""
    drops = [math.ceil(milestone * total) for milestone in _MILESTONES]
    shapes: dict[str, Callable[[int], float]] = {
        "cosine": lambda t: _cosine(t, after, total),
        "onecycle": lambda t: _cosine(t, after, total),
        "linear": lambda t: 1 - (t - after) / (total - after),
        "constant": lambda t: 1.0,  # noqa: ARG005
        "step": lambda t: float(_DECAY ** sum(t >= drop for drop in drops)),
    }
    return shapes[name]


def _rise(name: str, total: int, warmup: int) -> int:
    """Steps of warm-up; a one-cycle schedule always rises."""
    if name == "onecycle" and warmup == 0:
        return round(_ONECYCLE_RISE * total)
    return warmup


def _cosine(t: int, start: int, total: int) -> float:
    return (1 + math.cos(math.pi * (t - start) / (total - start))) / 2


def _ramp(t: int, warmup: int) -> float:
    return (t + 1) / (warmup + 1)


def _onecycle_ramp(t: int, warmup: int) -> float:
    risen = (1 - math.cos(math.pi * t / warmup)) / 2
    return _ONECYCLE_START + (1 - _ONECYCLE_START) * risen


def _check_step(t: int, total: int) -> None:
    if not 0 <= t <= total:
        raise ValueError(f"step {t} is outside the schedule's 0 to {total}")


def _check(name: str, total: int, warmup: int, base: object, floor: object) -> None:
    faults = []
    if name not in SCHEDULES:
        faults.append(f"unknown schedule {name!r}; there are {list(SCHEDULES)}")
    if total < 1:
        faults.append(f"total: {total} must be at least 1")
    elif not 0 <= warmup < total:
        faults.append(f"warmup: {warmup} must be at least 0 and below the total of {total} steps")
    if isinstance(base, (int, float)) and base <= 0:
        faults.append(f"base: {base} must be above 0")
    elif isinstance(floor, (int, float)) and floor < 0:
        faults.append(f"floor: {floor} must not be negative")
    elif isinstance(base, (int, float)) and isinstance(floor, (int, float)) and floor > base:
        faults.append(f"floor: {floor} must not be above base, {base}")
    if faults:
        raise ValueError("; ".join(faults))


class ScheduleClock:
    """Applies a schedule to an optimizer, once an epoch or once a batch.

    The value is set before the optimizer's step and is a function of the step's number alone:
    it cannot be stepped in the wrong order, and a run that resumes needs no state for it.

        for epoch in range(epochs):
            clock.start_epoch(epoch)
            for step, batch in enumerate(batches):
                rate = clock.before_step(step)
                ...
                optimizer.step()
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Callable[[int], float],
        *,
        per: Per,
        steps_per_epoch: int,
        key: str = "lr",
        groups: Sequence[int] | None = None,
    ) -> None:
        """Bind a schedule to an optimizer.

        Args:
            optimizer: whose parameter groups are set, alike.
            schedule: over epochs where ``per`` is "epoch", else over all batches of the run.
            per: "epoch" holds the value constant within an epoch.
            steps_per_epoch: optimizer steps an epoch, >= 1.
            key: what is set: "lr", "weight_decay", "momentum" (Adam's first beta).
            groups: which parameter groups are set; None for all.

        Raises:
            ValueError: for another ``per``, fewer than one step an epoch, or a ``key`` that the
                optimizer does not have.
        """
        if per not in ("epoch", "batch"):
            raise ValueError(f"per: {per!r} must be 'epoch' or 'batch'")
        if steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch: {steps_per_epoch} must be at least 1")
        every = optimizer.param_groups
        betas = key == "momentum" and all("betas" in group for group in every)
        if not betas and any(key not in group for group in every):
            raise ValueError(f"key: {type(optimizer).__name__} has no {key!r}")
        self._optimizer = optimizer
        self._groups = range(len(every)) if groups is None else groups
        self._schedule = schedule
        self._per = per
        self.steps_per_epoch = steps_per_epoch
        self._key = _BETAS if betas else key
        self._epoch = 0

    def start_epoch(self, epoch: int) -> None:
        """Say which epoch runs, counted from 0."""
        self._epoch = epoch

    def before_step(self, step: int) -> float:
        """Set the value for the optimizer step ``step`` of this epoch, counted from 0.

        Returns:
            The value that was set.

        Raises:
            ValueError: if the epoch has no such step.
        """
        if not 0 <= step < self.steps_per_epoch:
            raise ValueError(f"step {step} of an epoch of {self.steps_per_epoch}")
        per_epoch = self._per == "epoch"
        t = self._epoch if per_epoch else self._epoch * self.steps_per_epoch + step
        value = self._schedule(t)
        every = self._optimizer.param_groups  # loading a state replaces the groups
        for group in (every[number] for number in self._groups):
            if self._key == _BETAS:
                group[_BETAS] = value, group[_BETAS][1]
            elif hasattr(group[self._key], "fill_"):  # where a graph reads it
                group[self._key].fill_(value)
            else:
                group[self._key] = value
        return value
