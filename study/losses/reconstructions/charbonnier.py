"""Charbonnier's loss: |d|, smooth at zero."""

from __future__ import annotations

from functools import partial
from typing import Final

from torch import Tensor

from study.losses.reconstruction import Pixelwise

RECONSTRUCTION: Final = {
    "called": "Charbonnier's loss",
    "source": "Lai et al. 2017, arXiv:1704.03915",
    "parameters": {
        "charbonnier_eps": {
            "default": 1e-3,
            "gt": 0,
            "meaning": "how far from zero it is smoothed, in [0, 1] of brightness",
        }
    },
}


def charbonnier(difference: Tensor, eps: float | Tensor) -> Tensor:
    """Elementwise sqrt(d^2 + eps^2) - eps.

    The form of Lai et al. 2017 (arXiv:1704.03915, section 3.3) less its eps, so that zero is
    zero; written without the subtraction, which loses every digit of a small d.
    """
    squared = difference.square()
    return squared / ((squared + eps * eps).sqrt() + eps)


class Loss(Pixelwise):
    """Mean of `charbonnier` over pixels and channels."""

    def __init__(self, charbonnier_eps: float | Tensor) -> None:
        """Take eps > 0."""
        super().__init__(partial(charbonnier, eps=charbonnier_eps))
