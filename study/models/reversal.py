"""Gradient reversal (Ganin & Lempitsky 2015, arXiv:1409.7495, section 3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def reverse_gradient(x: Tensor, weight: float | Tensor) -> Tensor:
    """``x`` itself in the forward, its gradient times ``-weight`` in the backward.

    Args:
        x: any shape.
        weight: w, dimensionless, a float >= 0 or a tensor without dimensions. It gets no gradient.

    Returns:
        The values of ``x``, bit for bit.

    Raises:
        ValueError: if ``weight`` is a negative or non-finite float.
    """
    if not isinstance(weight, Tensor):
        if not 0.0 <= weight < float("inf"):
            raise ValueError(f"weight: {weight} must be finite and not negative")
        # Stays on the CPU: a tensor without dimensions multiplies on any device, without a wait.
        weight = torch.tensor(weight, dtype=torch.float64)
    reversed_x: Tensor = _Reversal.apply(x, weight.detach())
    return reversed_x


class _Reversal(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        del weight
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        del output
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        return gradient * -weight.to(gradient.dtype), None
