"""The distance of feature maps of a frozen network."""

from __future__ import annotations

from typing import Final

from torch import Tensor

from study.losses.reconstruction import ReconstructionLoss

RECONSTRUCTION: Final = {"perceptual": True, "source": "Johnson et al. 2016, arXiv:1603.08155"}


class Loss(ReconstructionLoss):
    """The distance of `study.losses.perceptual` as it is."""

    def __init__(self, perceptual: ReconstructionLoss) -> None:
        """Take the `study.losses.perceptual.PerceptualDistance`."""
        super().__init__()
        self.distance = perceptual

    def per_image(self, output: Tensor, target: Tensor) -> Tensor:
        """As `ReconstructionLoss.per_image`."""
        return self.distance.per_image(output, target)
