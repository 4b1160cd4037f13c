"""Structural similarity."""

from __future__ import annotations

from functools import partial
from typing import Final, cast

from torch import Tensor

from study.losses.reconstruction import ReconstructionLoss, Similarity, dissimilarity

RECONSTRUCTION: Final = {"least_image_size": 6, "source": "Wang et al. 2004"}


class Loss(ReconstructionLoss):
    """1 - SSIM, in [0, 2] (Wang et al. 2004), by torchmetrics.

    Gaussian window of 11 pixels, sigma 1.5, data range 1, images continued by reflection.
    """

    def per_image(self, output: Tensor, target: Tensor) -> Tensor:
        """As `ReconstructionLoss.per_image`."""
        from torchmetrics.functional.image import structural_similarity_index_measure

        similarity = partial(structural_similarity_index_measure, data_range=1.0, reduction="none")
        return dissimilarity(cast(Similarity, similarity), output, target)
