"""Mean of d^2 over pixels and channels."""

from __future__ import annotations

from typing import Final

import torch

from study.losses.reconstruction import Pixelwise

RECONSTRUCTION: Final[dict[str, object]] = {}


class Loss(Pixelwise):
    """Mean of d^2 over pixels and channels."""

    def __init__(self) -> None:
        """Take no parameters."""
        super().__init__(torch.square)
