"""Structural similarity and L1 together."""

from __future__ import annotations

from typing import Final

from torch import Tensor

from study.losses.reconstruction import ReconstructionLoss
from study.losses.reconstructions import ssim

RECONSTRUCTION: Final = {
    "least_image_size": 6,
    "source": "Zhao et al. 2017, arXiv:1511.08861",
    "parameters": {
        "ssim_weight": {
            "default": 0.84,  # alpha in the paper
            "gt": 0,
            "lt": 1,
            "meaning": "share of SSIM",
        }
    },
}


class Loss(ReconstructionLoss):
    """w (1 - SSIM) + (1 - w) L1.

    After Zhao et al. 2017 (arXiv:1511.08861, section III-D), who take MS-SSIM and weight the L1
    term by a Gaussian; here both are plain means over the image.
    """

    def __init__(self, ssim_weight: float | Tensor) -> None:
        """Take w in (0, 1)."""
        super().__init__()
        self.ssim_weight = ssim_weight
        self.ssim = ssim.Loss()

    def per_image(self, output: Tensor, target: Tensor) -> Tensor:
        """As `ReconstructionLoss.per_image`."""
        l1 = (output - target).abs().mean(dim=(1, 2, 3))
        structural = self.ssim.per_image(output, target)
        return self.ssim_weight * structural + (1 - self.ssim_weight) * l1
