"""Huber's loss: quadratic near zero, linear beyond."""

from __future__ import annotations

from functools import partial
from typing import Final

from torch import Tensor

from study.losses.reconstruction import Pixelwise

RECONSTRUCTION: Final = {
    "called": "Huber's loss",
    "source": "Huber 1964",
    "parameters": {
        "huber_delta": {
            "default": 0.1,
            "gt": 0,
            # From 1 on the loss is half the MSE.
            "meaning": "where it turns from quadratic to linear, in [0, 1] of brightness",
        }
    },
}


def huber(difference: Tensor, delta: float | Tensor) -> Tensor:
    """Elementwise d^2 / 2 up to |d| = delta, then delta (|d| - delta / 2) (Huber 1964)."""
    size = difference.abs()
    near = size.clamp(max=delta)
    return near * (size - 0.5 * near)


class Loss(Pixelwise):
    """Mean of `huber` over pixels and channels."""

    def __init__(self, huber_delta: float | Tensor) -> None:
        """Take delta > 0."""
        super().__init__(partial(huber, delta=huber_delta))
