"""Images of nothing: what integrated gradients starts from, and what a deleted pixel becomes.

Integrated gradients takes mean grey, the same for every image. A pixel that is deleted takes its
value in the blurred image, which leaves fewer edges of its own than grey. The two differ, so that
no method is checked by the reference that it was made with.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from study.explain.options import Reference

GREY = 0.5
_BLUR_SHARE = 1 / 8  # standard deviation of the blur as a share of the image's side


def reference_images(images: Tensor, kind: Reference) -> Tensor:
    """The reference of each image.

    Never zero in the model's space: a zero image may give zero features, of which no cosine is
    defined.

    Args:
        images: float in [0, 1], shape (B, 3, H, W).
        kind: "grey" (0.5 everywhere) or "blur" (Gaussian, standard deviation an eighth of the
            side).

    Returns:
        Shape, type and device of ``images``.
    """
    if kind == "grey":
        return torch.full_like(images, GREY)
    return _blurred(images, images.shape[-1] * _BLUR_SHARE)


def _blurred(images: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian blur; the border repeats the outermost pixels."""
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights = (weights / weights.sum()).expand(images.shape[1], 1, -1)
    channels = images.shape[1]
    wide = pad(images, (radius, radius, radius, radius), mode="replicate")
    rows = conv2d(wide, weights.unsqueeze(2), groups=channels)
    return conv2d(rows, weights.unsqueeze(3), groups=channels)
