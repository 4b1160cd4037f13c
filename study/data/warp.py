"""torchvision's RandomRotation and RandomResizedCrop for whole batches, on any device.

The draws follow torchvision's distributions, and a picture comes out as torchvision's functions
give it for the same draw: rotation by the nearest pixel around the centre with black corners
(``rotate``), the crop brought back to size by the antialiased bilinear filter (``resized_crop``).
The draws are numpy's, so that they come from a named stream.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

_TRIES = 10
_LOG_RATIO = math.log(4 / 3)  # of width and height, up or down

Boxes = npt.NDArray[np.int64]


def draw_boxes(num: int, size: int, least_area: float, generator: np.random.Generator) -> Boxes:
    """Crops of square images as RandomResizedCrop draws them, with its default ratios.

    Args:
        num: of images.
        size: edge of the images, pixels.
        least_area: smallest share of the image, in (0, 1]; the largest is 1.
        generator: numpy's.

    Returns:
        Top, left, height, width, shape (num, 4).
    """
    area = size * size * generator.uniform(least_area, 1, (num, _TRIES))
    ratio = np.exp(generator.uniform(-_LOG_RATIO, _LOG_RATIO, (num, _TRIES)))
    width, height = (np.rint(np.sqrt(area * one)).astype(np.int64) for one in (ratio, 1 / ratio))
    fits = (width > 0) & (width <= size) & (height > 0) & (height <= size)
    rows, first = np.arange(num), fits.argmax(1)
    found = fits[rows, first]
    heights, widths = (np.where(found, one[rows, first], size) for one in (height, width))
    tops, lefts = (generator.integers(0, size - edge + 1) for edge in (heights, widths))
    return np.stack([tops, lefts, heights, widths], axis=1)


def resized_crops(images: Tensor, boxes: Tensor) -> Tensor:
    """Each image's crop, brought back to the images' size.

    Args:
        images: uint8, shape (N, H, H, 3).
        boxes: of `draw_boxes`, int64, shape (N, 4), on the same device.

    Returns:
        uint8, of the same shape.
    """
    size = images.shape[1]
    tops, lefts, heights, widths = boxes.unbind(1)
    down, across = _resampling(tops, heights, size), _resampling(lefts, widths, size)
    planes = images.permute(0, 3, 1, 2).float()
    made = down[:, None] @ planes @ across[:, None].transpose(2, 3)
    return made.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def rotated(images: Tensor, angles: Tensor) -> Tensor:
    """Each image turned around its centre, counter-clockwise.

    Args:
        images: uint8, shape (N, H, H, 3).
        angles: degrees, shape (N,), on the same device.

    Returns:
        uint8, of the same shape; black where nothing was.
    """
    radians = torch.deg2rad(angles.double())
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    turn = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3).float()
    planes = images.permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(turn, list(planes.shape), align_corners=False)
    made = functional.grid_sample(planes, grid, mode="nearest", align_corners=False)
    return made.to(torch.uint8).permute(0, 2, 3, 1)


def _resampling(starts: Tensor, lengths: Tensor, size: int) -> Tensor:
    """Weights of each pixel of a row for each pixel of the resized crop, (N, size, size)."""
    places = torch.arange(size, device=starts.device)
    scale = (lengths / size)[:, None, None]
    centres = scale * (places[None, :, None] + 0.5)
    inside = places[None, None, :] - starts[:, None, None]
    weights = (1 - (inside + 0.5 - centres).abs() / scale.clamp(min=1)).clamp(min=0)
    weights = weights * ((inside >= 0) & (inside < lengths[:, None, None]))
    return weights / weights.sum(dim=2, keepdim=True)
