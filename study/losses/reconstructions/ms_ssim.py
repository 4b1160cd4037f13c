"""Structural similarity on several scales."""

from __future__ import annotations

from functools import partial
from typing import Final

from torch import Tensor

from study.losses.reconstruction import ReconstructionLoss, check_size, dissimilarity

RECONSTRUCTION: Final = {"least_image_size": 16, "source": "Wang et al. 2003"}


_SCALE_WEIGHTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_COARSEST: Final = 8  # pixels
_FULL_WINDOW_FROM: Final = 176  # pixels; five scales under an 11-pixel window need as many


class Loss(ReconstructionLoss):
    """1 - MS-SSIM, in [0, 1] (Wang et al. 2003), by torchmetrics; scales as `ms_ssim_scales`.

    Differs from the paper in two points. Each scale's term c enters as (c + 1) / 2: the paper's
    powers of c do not exist below zero, and cutting c off at zero leaves no gradient for a
    reconstruction that is anticorrelated with its image. Fewer than five scales take the first
    of the paper's weights, brought to the sum 1.
    """

    def per_image(self, output: Tensor, target: Tensor) -> Tensor:
        """As `ReconstructionLoss.per_image`."""
        from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

        num_scales, window = ms_ssim_scales(min(output.shape[2:]))
        weights = _SCALE_WEIGHTS[:num_scales]
        similarity = partial(
            multiscale_structural_similarity_index_measure,
            reduction="none",
            data_range=1.0,
            kernel_size=window,
            # torchmetrics takes the window from sigma; this sigma gives the window asked for.
            sigma=1.5 * window / 11,
            betas=tuple(weight / sum(weights) for weight in weights),
            normalize="simple",
        )
        return dissimilarity(similarity, output, target)


def ms_ssim_scales(image_size: int) -> tuple[int, int]:
    """Scales of MS-SSIM for images of a size: as many halvings as leave 8 pixels, at most five.

    2 scales from 16 pixels, 3 from 32, 4 from 64, 5 from 128; a window of 7 pixels, from 176 on
    the paper's 11.

    Args:
        image_size: the smaller of height and width, in pixels.

    Returns:
        (number of scales, side of the Gaussian window in pixels).

    Raises:
        ValueError: below 16 pixels, where a single scale would be left.
    """
    check_size("ms_ssim", image_size)
    num_scales = min((image_size // _COARSEST).bit_length(), len(_SCALE_WEIGHTS))
    return num_scales, 11 if image_size >= _FULL_WINDOW_FROM else 7
