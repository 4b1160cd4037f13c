"""The CIFAR ResNets of He et al. 2016 (arXiv:1512.03385, section 4.2), with option-A shortcuts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

from study.models.classifier import init_convolutions

BACKBONES: Final = {
    "resnet20": {"strides": (4,), "num_features": 64, "dropout": True, "any_size": True},
    "resnet32": {"strides": (4,), "num_features": 64, "dropout": True, "any_size": True},
    "resnet44": {"strides": (4,), "num_features": 64, "dropout": True, "any_size": True},
    "resnet56": {"strides": (4,), "num_features": 64, "dropout": True, "any_size": True},
    "resnet110": {"strides": (4,), "num_features": 64, "dropout": True, "any_size": True},
}
_WIDTHS: Final = (16, 32, 64)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters.

    Where the shape changes, the shortcut takes every other pixel and pads the new channels with
    zeros, half of them on each side (the paper's option A).
    """

    def __init__(self, num_in: int, num_out: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.dropout = dropout
        self.stride = stride
        self.num_padded = num_out - num_in

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in, H, W) -> (B, num_out, ceil(H / stride), ceil(W / stride))."""
        out = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        if self.dropout:
            out = functional.dropout(out, self.dropout, self.training)
        out = self.bn2(self.conv2(out))
        if self.num_padded:
            before = self.num_padded // 2
            x = x[:, :, :: self.stride, :: self.stride]
            x = functional.pad(x, (0, 0, 0, 0, before, self.num_padded - before))
        return functional.relu(out + x, inplace=True)


class CifarResNet(nn.Module):
    """Three stages of blocks at 16, 32 and 64 channels; total stride 4, then the mean over space.

    Names of modules follow the common public layout (conv1, bn1, layer1.0.conv1 ...).
    """

    num_features = _WIDTHS[-1]
    stride = 4

    def __init__(self, depth: int, dropout: float = 0.0) -> None:
        """Build a network of ``depth`` = 6n + 2 weighted layers.

        ``dropout`` acts between the two convolutions of each block; the paper has none.
        """
        super().__init__()
        num_blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, _WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.layer1 = _stage(_WIDTHS[0], _WIDTHS[0], 1, num_blocks, dropout)
        self.layer2 = _stage(_WIDTHS[0], _WIDTHS[1], 2, num_blocks, dropout)
        self.layer3 = _stage(_WIDTHS[1], _WIDTHS[2], 2, num_blocks, dropout)
        init_convolutions(self)

    def maps(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> maps (B, 64, H / 4, W / 4)."""
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        maps: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> features (B, 64), the mean of the maps."""
        return self.maps(x).mean(dim=(2, 3))


def _stage(num_in: int, num_out: int, stride: int, num_blocks: int, dropout: float) -> nn.Module:
    blocks: Iterable[nn.Module] = (
        Block(num_out if index else num_in, num_out, 1 if index else stride, dropout)
        for index in range(num_blocks)
    )
    return nn.Sequential(*blocks)


def build(name: str, *, dropout: float, image_size: int) -> nn.Module:
    """A CIFAR ResNet of the depth in its name: 64 features."""
    del image_size  # any will do: the mean over space takes what is left
    return CifarResNet(int(name.removeprefix("resnet")), dropout)
