"""Weights between those of the base and those of a trial (`study.scoring.path`)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def between(start: Weights, end: Weights, alpha: float) -> dict[str, Tensor]:
    """Start + alpha (end - start) of every floating-point tensor; counters are those of ``end``.

    At 0 and 1 the very bits of ``start`` and ``end``.

    Args:
        start: state dict.
        end: state dict of the same network.
        alpha: in [0, 1].
    """
    if alpha in (0.0, 1.0):
        return {name: tensor.clone() for name, tensor in (end if alpha else start).items()}
    return {
        name: torch.lerp(start[name].to(one), one, alpha)
        if one.is_floating_point()
        else one.clone()
        for name, one in end.items()
    }
