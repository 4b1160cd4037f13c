"""torchvision's ResNet-18 and ResNet-50 with a stem for small images.

The stem's 7x7 stride-2 convolution becomes a 3x3 of stride 1 and its max-pooling goes, so that
the total stride is 8 in place of 32: the form that OpenOOD and SimCLR (arXiv:2002.05709,
appendix B.9) use for CIFAR-10.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from study.models.classifier import init_convolutions

BACKBONES: Final = {
    "resnet18": {
        "strides": (8,),
        "num_features": 512,
        "dropout": False,
        "any_size": True,
        "stems": True,
        "pretrained": "torchvision/ResNet18_Weights.IMAGENET1K_V1",
        "fresh": ("conv1.weight",),
    },
    "resnet50": {
        "strides": (8,),
        "num_features": 2048,
        "dropout": False,
        "any_size": True,
        "stems": True,
        "pretrained": "torchvision/ResNet50_Weights.IMAGENET1K_V2",
        "fresh": ("conv1.weight",),
    },
}


class SmallImageResNet(nn.Module):
    """A torchvision ResNet without its head, with the small stem; its keys are torchvision's."""

    stride = 8
    avgpool: nn.Module

    def __init__(self, name: str) -> None:
        """Build torchvision's ``name`` with fresh weights."""
        super().__init__()
        # Importing torchvision's models takes seconds; only these backbones pay for it.
        from torchvision import models

        network = models.get_model(name, weights=None)
        self.num_features = int(network.fc.in_features)
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
        init_convolutions(network)
        for part_name, part in network.named_children():
            if part_name != "fc":
                self.add_module(part_name, part)

    def maps(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> maps (B, num_features, H / 8, W / 8)."""
        for name, part in self.named_children():
            if name != "avgpool":
                x = part(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> features (B, num_features), the mean of the maps."""
        features: Tensor = self.avgpool(self.maps(x))
        return features.flatten(1)


def with_native_stem(network: nn.Module) -> None:
    """Give a `SmallImageResNet` torchvision's own stem again, with fresh weights: stride 32."""
    network.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
    network.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
    network.stride = 32  # type: ignore[assignment]
    init_convolutions(network.conv1)


def build(name: str, *, dropout: float, image_size: int) -> nn.Module:
    """The network of that name, with the small stem."""
    del dropout, image_size
    return SmallImageResNet(name)
