"""NORD-F's decoder: maps back to an image, and the normalisation that its parts share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.models.classifier import init_convolutions

Norm = Literal["batch", "group"]

_GROUP_CHANNELS: Final = 8


def norm_of(kind: Norm) -> Callable[[int], nn.Module]:
    """A normalisation layer by its number of channels.

    Args:
        kind: "batch", or "group" (Wu & He 2018, arXiv:1803.08494), which does not look at the
            other images of a batch and so serves small ones. A group has 8 channels; where 8
            does not divide their number there is one group.
    """
    return nn.BatchNorm2d if kind == "batch" else _group_norm


def _group_norm(channels: int) -> nn.Module:
    groups, rest = divmod(channels, _GROUP_CHANNELS)
    return nn.GroupNorm(1 if rest else groups, channels)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with norm, and a shortcut; the shape stays."""

    def __init__(self, channels: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = norm(channels)
        init_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same."""
        out = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        return functional.relu(self.norm2(self.conv2(out)) + x, inplace=True)


class Decoder(nn.Module):
    """Maps (B, C, h, w) -> images in [0, 1], (B, 3, h * 2^n, w * 2^n), by n up-samplings.

    Each up-sampling is a transposed convolution (2x2, stride 2), norm, ReLU and some residual
    blocks; a 1x1 convolution and a sigmoid end it.
    """

    def __init__(
        self, num_in: int, widths: Sequence[int], *, blocks: int = 2, norm: Norm = "batch"
    ) -> None:
        """Build a decoder of ``len(widths)`` up-samplings.

        Args:
            num_in: C, channels of the maps.
            widths: channels after each up-sampling; none where maps have the image's size.
            blocks: residual blocks after each up-sampling, >= 0.
            norm: "batch" or "group".
        """
        super().__init__()
        make_norm = norm_of(norm)
        layers: list[nn.Module] = []
        for before, after in zip((num_in, *widths), widths, strict=False):
            layers.append(nn.ConvTranspose2d(before, after, 2, stride=2, bias=False))
            layers += [make_norm(after), nn.ReLU(inplace=True)]
            layers += [ResidualBlock(after, make_norm) for _ in range(blocks)]
        self.up = nn.Sequential(*layers)
        # Torch's own initialisation here: a larger one would start with saturated pixels.
        self.to_image = nn.Conv2d(widths[-1] if widths else num_in, 3, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Images in [0, 1]."""
        return torch.sigmoid(self.to_image(self.up(maps)))
