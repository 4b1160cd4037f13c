"""One step of training: plain, or over tensors that stay in their place, as a graph needs it."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from study.data.batches import Batch
from study.device import Program
from study.recipes.base import TrainingLoss

GRADIENT_NORM = "gradient_norm"


class Step(Protocol):
    """Takes a step and tells of it."""

    @property
    def names(self) -> list[str]:
        """Of what a step tells; known after the first one."""
        ...

    def __call__(self, batch: Batch) -> Tensor:
        """The terms of the loss before the step, and perhaps the gradient's norm, (terms,)."""
        ...


class TrainingStep:
    """Forward, backward and the optimizer's step."""

    def __init__(
        self,
        model: nn.Module,
        loss: TrainingLoss,
        optimizer: torch.optim.Optimizer,
        *,
        logs_gradients: bool,
    ) -> None:
        """Take what a step acts on."""
        self._model, self._loss, self._optimizer = model, loss, optimizer
        self._logs_gradients = logs_gradients
        self.names: list[str] = []

    def __call__(self, batch: Batch) -> Tensor:
        """Take the step; nothing of it is looked at."""
        terms = self._loss(self._model, batch)
        self._optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        told = {name: term.detach() for name, term in terms.items()}
        if self._logs_gradients:
            told[GRADIENT_NORM] = _gradient_norm(self._optimizer)
        self._optimizer.step()
        self.names = list(told)
        return torch.stack(list(told.values()))


class StaticStep:
    """The same step with batches copied to one place, so that it can be captured as a graph.

    The first batch says of which shape; one of another shape, as an epoch's last, has a plain
    step.
    """

    def __init__(self, step: TrainingStep, device: torch.device) -> None:
        """Take the step, and where its tensors are."""
        self._step, self._device = step, device
        self._held: tuple[Batch, Program] | None = None

    @property
    def names(self) -> list[str]:
        """Those of the plain step."""
        return self._step.names

    def __call__(self, batch: Batch) -> Tensor:
        """Take the step."""
        held, program = self._held = self._held or self._first(batch)
        if held.images.shape != batch.images.shape or held.num_id != batch.num_id:
            return self._step(batch)
        held.images.copy_(batch.images)
        held.labels.copy_(batch.labels)
        if held.pairs is not None and batch.pairs is not None:
            held.pairs.copy_(batch.pairs)
        return program().clone()

    def _first(self, batch: Batch) -> tuple[Batch, Program]:
        """The place of all batches, and the step over it."""
        pairs = None if batch.pairs is None else batch.pairs.clone()
        held = Batch(batch.images.clone(), batch.labels.clone(), batch.num_id, pairs)
        step = self._step  # not self: in a ring a graph's memory would stay until it is found

        def run() -> Tensor:
            # Detached: a loss may ask for the gradient by the images.
            return step(replace(held, images=held.images.detach()))

        return held, Program(run, self._device)


def _gradient_norm(optimizer: torch.optim.Optimizer) -> Tensor:
    """Euclidean norm of the gradient over all parameters, without dimensions."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
