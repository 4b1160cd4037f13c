"""The least precision that losses compute in, whatever a model's output has."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """``values`` raised to float32 from half precision; float32 and float64 as they are."""
    return values if values.dtype == torch.float64 else values.float()
