"""Wide residual networks (Zagoruyko & Komodakis 2016, arXiv:1605.07146), with dropout."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

from study.models.classifier import init_convolutions

BACKBONES: Final = {
    "wrn_40_2": {"strides": (4,), "num_features": 128, "dropout": True, "any_size": True},
    "wrn_16_2": {"strides": (4,), "num_features": 128, "dropout": True, "any_size": True},
    "wrn_16_4": {"strides": (4,), "num_features": 256, "dropout": True, "any_size": True},
    "wrn_28_10": {"strides": (4,), "num_features": 640, "dropout": True, "any_size": True},
}


class Block(nn.Module):
    """BN-ReLU-conv twice, with dropout between, around a shortcut.

    Where the channels change, the shortcut is a 1x1 convolution of the activated input.
    """

    def __init__(self, num_in: int, num_out: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(num_in)
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.shortcut = (
            None if num_in == num_out else nn.Conv2d(num_in, num_out, 1, stride, bias=False)
        )
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in, H, W) -> (B, num_out, ceil(H / stride), ceil(W / stride))."""
        active = functional.relu(self.bn1(x), inplace=True)
        out = functional.relu(self.bn2(self.conv1(active)), inplace=True)
        if self.dropout:
            out = functional.dropout(out, self.dropout, self.training)
        residual: Tensor = self.conv2(out)
        return residual + (x if self.shortcut is None else self.shortcut(active))


class WideResNet(nn.Module):
    """Three stages of pre-activation blocks; total stride 4, then the mean over space."""

    stride = 4

    def __init__(self, depth: int, width: int, dropout: float = 0.0) -> None:
        """Build WRN-``depth``-``width``; ``depth`` = 6n + 4.

        ``dropout`` acts between the two convolutions of each block (the energy paper: 0.3).
        """
        super().__init__()
        num_blocks = (depth - 4) // 6
        widths = (16 * width, 32 * width, 64 * width)
        self.num_features = widths[-1]
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = _stage(16, widths[0], 1, num_blocks, dropout)
        self.block2 = _stage(widths[0], widths[1], 2, num_blocks, dropout)
        self.block3 = _stage(widths[1], widths[2], 2, num_blocks, dropout)
        self.bn1 = nn.BatchNorm2d(widths[2])
        init_convolutions(self)

    def maps(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> activated maps (B, 64 * width, H / 4, W / 4)."""
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return functional.relu(self.bn1(x), inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> features (B, 64 * width), the mean of the maps."""
        return self.maps(x).mean(dim=(2, 3))


def _stage(num_in: int, num_out: int, stride: int, num_blocks: int, dropout: float) -> nn.Module:
    blocks: Iterable[nn.Module] = (
        Block(num_out if index else num_in, num_out, 1 if index else stride, dropout)
        for index in range(num_blocks)
    )
    return nn.Sequential(*blocks)


def build(name: str, *, dropout: float, image_size: int) -> nn.Module:
    """A wide residual network of the depth and the width in its name."""
    del image_size  # any will do: the mean over space takes what is left
    depth, width = (int(part) for part in name.split("_")[1:])
    return WideResNet(depth, width, dropout)
