"""DenseNet-121 (Huang et al. 2017, arXiv:1608.06993) from torchvision.

Small images take a 3x3 stem of stride 1 without pooling, as the paper's own CIFAR networks have,
so that the total stride is 8 in place of 32.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn
from torch.nn import functional

from study.models.names import stride_of

BACKBONES: Final = {
    "densenet121": {
        "strides": (8, 32),
        "num_features": 1024,
        "dropout": True,
        "pretrained": "torchvision/DenseNet121_Weights.IMAGENET1K_V1",
        "fresh": ("features.conv0.weight",),
    }
}
_NATIVE_STRIDE: Final = 32


class DenseNet121(nn.Module):
    """torchvision's dense blocks and transitions under ``features``, with its keys."""

    num_features = 1024

    def __init__(self, stride: int, dropout: float = 0.0) -> None:
        """Build with fresh weights.

        Args:
            stride: 8 with the small stem, 32 with the native one.
            dropout: acts on the new channels of each dense layer, as in the paper.
        """
        super().__init__()
        # Importing torchvision's models takes seconds; only these backbones pay for it.
        from torchvision import models

        network = models.densenet121(weights=None, drop_rate=dropout, num_classes=1)
        self.stride = stride
        self.features: nn.Module = network.features
        if stride != _NATIVE_STRIDE:
            stem = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(stem.weight)  # torchvision's own for this network
            self.features.add_module("conv0", stem)
            self.features.add_module("pool0", nn.Identity())

    def maps(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> activated maps (B, 1024, H / stride, W / stride)."""
        return functional.relu(self.features(x), inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> features (B, 1024), the mean of the maps."""
        return self.maps(x).mean(dim=(2, 3))


def build(name: str, *, dropout: float, image_size: int) -> nn.Module:
    """DenseNet-121: 1024 features."""
    return DenseNet121(stride_of(name, image_size), dropout)
