"""The rows of one forward over both groups: ID first, then outliers."""

from __future__ import annotations

import torch
from torch import Tensor


def split_groups(values: Tensor, num_id: int) -> tuple[Tensor, Tensor]:
    """Cut what a joint batch gave into its ID part and its outlier part.

    Args:
        values: one row an image, shape (B, ...), the first ``num_id`` rows ID.
        num_id: number of ID rows, 1 <= num_id < B.

    Returns:
        (ID rows, outlier rows), views.

    Raises:
        ValueError: if one of the groups is empty.
    """
    if not 0 < num_id < len(values):
        raise ValueError(
            f"num_id: {num_id} of {len(values)} rows; the loss needs ID rows and outlier rows"
        )
    return values[:num_id], values[num_id:]


def at_least_float32(values: Tensor) -> Tensor:
    """``values`` raised to float32 from half precision; float32 and float64 as they are."""
    return values if values.dtype == torch.float64 else values.float()
