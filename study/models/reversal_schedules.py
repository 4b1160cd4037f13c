"""How strongly NORD-F's gradient reversal acts, as a pure function of where training stands.

Progress p runs from 0 (the first step) towards 1 (the end of training, which no step uses), as
t does in `study.training.schedules`. Stepped per epoch, p stays what it was at the epoch's first
batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal

Per = Literal["epoch", "batch"]

_DANN_STEEPNESS: Final = 10.0  # gamma in the paper
_STAIR_START: Final = 0.01
_STAIR_RISE: Final = 0.00099
_STAIR_EPOCHS: Final = 10


# Of progress and epoch.
_SHAPES: Final[dict[str, Callable[[float, int], float]]] = {
    "constant": lambda _progress, _epoch: 1.0,
    "linear": lambda progress, _epoch: progress,
    "staircase": lambda _, epoch: min(1.0, _STAIR_START + epoch // _STAIR_EPOCHS * _STAIR_RISE),
    "dann": lambda progress, _epoch: 2 / (1 + math.exp(-_DANN_STEEPNESS * progress)) - 1,
}

REVERSAL_SCHEDULES: Final = tuple(_SHAPES)
"""Names of the schedules."""


def make_reversal_schedule(
    name: str, *, epochs: int, steps_per_epoch: int, weight: float = 1.0, per: Per = "batch"
) -> Callable[[int, int], float]:
    """The weight of the reversed gradient at each step.

    - constant: ``weight``.
    - linear: ``weight * p``, from 0 towards ``weight`` over training.
    - staircase: ``weight * min(1, 0.01 + floor(e / 10) * 0.00099)`` in epoch e, the rule of the
      NORD-F seed with ``weight`` 1. It stays at 0.01 for ten epochs and would reach 1 at epoch
      10,000; stepped per batch it is the same.
    - dann: ``weight * (2 / (1 + exp(-10 p)) - 1)`` (Ganin et al. 2016, arXiv:1505.07818,
      section 5.2.2, with ``weight`` 1).

    Args:
        name: one of `REVERSAL_SCHEDULES`.
        epochs: of the whole training, >= 1.
        steps_per_epoch: optimizer steps an epoch, >= 1.
        weight: the final value, dimensionless, >= 0 and finite.
        per: "batch" moves p with every step, "epoch" with every epoch.

    Returns:
        A function of (epoch, step), both counted from 0; a ValueError outside the training.

    Raises:
        ValueError: naming every argument that breaks its rule.
    """
    _check(name, epochs, steps_per_epoch, weight, per)
    shape = _SHAPES[name]

    def value(epoch: int, step: int) -> float:
        if not (0 <= epoch < epochs and 0 <= step < steps_per_epoch):
            raise ValueError(
                f"epoch {epoch}, step {step} is outside a training of {epochs} epochs of "
                f"{steps_per_epoch} steps"
            )
        done = epoch if per == "epoch" else epoch + step / steps_per_epoch
        return weight * shape(done / epochs, epoch)

    return value


def _check(name: str, epochs: int, steps_per_epoch: int, weight: float, per: str) -> None:
    faults = []
    if name not in _SHAPES:
        faults.append(f"unknown schedule {name!r}; there are {list(_SHAPES)}")
    if epochs < 1:
        faults.append(f"epochs: {epochs} must be at least 1")
    if steps_per_epoch < 1:
        faults.append(f"steps_per_epoch: {steps_per_epoch} must be at least 1")
    if not 0 <= weight < math.inf:
        faults.append(f"weight: {weight} must be finite and not negative")
    if per not in ("epoch", "batch"):
        faults.append(f"per: {per!r} must be 'epoch' or 'batch'")
    if faults:
        raise ValueError("; ".join(faults))
