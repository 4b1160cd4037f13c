"""VGG-16 with BatchNorm (Simonyan & Zisserman 2015, arXiv:1409.1556), torchvision's convolutions.

Small images lose the last two of the five poolings, so that the total stride is 8 in place of 32.
No tensor changes its shape by that. The three large linear layers, which hold the paper's
dropout, are not part of the backbone.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from study.models.classifier import init_convolutions
from study.models.names import stride_of

BACKBONES: Final = {
    "vgg16_bn": {
        "strides": (8, 32),
        "num_features": 512,
        "dropout": False,
        "pretrained": "torchvision/VGG16_BN_Weights.IMAGENET1K_V1",
    }
}
_NATIVE_STRIDE: Final = 32


class Vgg16(nn.Module):
    """Thirteen convolutions under ``features``, with torchvision's keys."""

    num_features = 512

    def __init__(self, stride: int) -> None:
        """Build with fresh weights; ``stride`` is 32 divided by 2 for each pooling left out."""
        super().__init__()
        # Importing torchvision's models takes seconds; only these backbones pay for it.
        from torchvision.models import vgg

        self.stride = stride
        # Not vgg16_bn(), which would also draw the 120 million weights of the linear layers.
        self.features: nn.Sequential = vgg.make_layers(vgg.cfgs["D"], batch_norm=True)
        pools = [i for i, part in enumerate(self.features) if isinstance(part, nn.MaxPool2d)]
        for index in pools[len(pools) - _left_out(stride) :]:
            self.features[index] = nn.Identity()
        init_convolutions(self)
        for part in self.features:
            if isinstance(part, nn.Conv2d) and part.bias is not None:
                nn.init.zeros_(part.bias)

    def maps(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> maps (B, 512, H / stride, W / stride)."""
        maps: Tensor = self.features(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> features (B, 512), the mean of the maps."""
        return self.maps(x).mean(dim=(2, 3))


def _left_out(stride: int) -> int:
    return (_NATIVE_STRIDE // stride).bit_length() - 1


def build(name: str, *, dropout: float, image_size: int) -> nn.Module:
    """VGG-16-BN: 512 features."""
    del dropout
    return Vgg16(stride_of(name, image_size))
