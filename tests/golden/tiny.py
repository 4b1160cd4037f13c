"""Backbones of 1,400 weights for the golden runs, added to a copy of a checkout as a user would.

The smallest backbone that is shipped has 1.1 MB of weights, the golden runs have 1 MB together.
And its batch norms and ReLUs make of the last bit of a float another network within ten steps on
the demo's flat pictures, so that another processor's numbers have nothing in common: ``smooth``
keeps a difference as small as it was.

`tests.golden.driving` puts this file into ``study/models`` of the copy that it drives; its form is
that of every file there, and changes with theirs.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn
from torch.nn import functional

BACKBONES: Final = {
    "tiny": {"strides": (4,), "num_features": 16, "dropout": False},
    "smooth": {"strides": (4,), "num_features": 16, "dropout": False},
}


class Tiny(nn.Module):
    """Two strided convolutions; total stride 4, then the mean over space."""

    num_features = 16
    stride = 4

    def __init__(self) -> None:
        """Build it with torch's own initialisation."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, 2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(16)

    def maps(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> maps (B, 16, H / 4, W / 4)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> features (B, 16), the mean of the maps."""
        return self.maps(x).mean(dim=(2, 3))


class Smooth(nn.Module):
    """The same with GELUs and no norm."""

    num_features = 16
    stride = 4

    def __init__(self) -> None:
        """Build it with torch's own initialisation."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, 2, padding=1)

    def maps(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> maps (B, 16, H / 4, W / 4)."""
        return functional.gelu(self.conv2(functional.gelu(self.conv1(x))))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> features (B, 16), the mean of the maps."""
        return self.maps(x).mean(dim=(2, 3))


def build(name: str, *, dropout: float, image_size: int) -> nn.Module:
    """The backbone of that name."""
    del dropout, image_size
    return Tiny() if name == "tiny" else Smooth()
