"""The classifier around every backbone: normalisation, features, linear head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, cast

import torch
from torch import Tensor, nn

# ImageNet's channel means and deviations, for images in [0, 1]: what the public weights in
# CIFAR ResNet and torchvision layouts were trained with.
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)


class Backbone(Protocol):
    """What a backbone must be: an nn.Module from images (B, 3, H, W) to features (B, D).

    Attributes:
        num_features: D, also the channels of the maps.
        stride: pixels of the image, in each direction, for one of the maps.
    """

    num_features: int
    stride: int

    def maps(self, x: Tensor) -> Tensor:
        """Maps (B, D, H / stride, W / stride) of normalised images."""
        ...

    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, D) of normalised images: the mean of the maps over space."""
        ...


class Classifier(nn.Module):
    """Images in [0, 1] -> normalised -> backbone -> features -> linear head -> logits.

    The normalisation is part of the model and of its saved weights, so that one pipeline of
    images serves every model. ``.to(memory_format=torch.channels_last)`` makes it channels-last.

    Attributes:
        num_features: D, the width of the features.
        num_classes: K, the number of logits.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        *,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        image_size: int | None = None,
    ) -> None:
        """Put a head on ``backbone``.

        Args:
            backbone: a `Backbone`.
            num_classes: K >= 2.
            mean: channel means for images in [0, 1].
            std: channel standard deviations, the same.
            image_size: side in pixels that images are enlarged to; None takes them as they are.

        Raises:
            ValueError: if ``num_classes`` < 2.
        """
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes: {num_classes} must be at least 2")
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.backbone = backbone
        self.num_features = cast(Backbone, backbone).num_features
        self.num_classes = num_classes
        self.image_size = image_size
        self.fc = nn.Linear(self.num_features, num_classes)
        nn.init.zeros_(self.fc.bias)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features, what the head sees.

        Args:
            images: float, in [0, 1], shape (B, 3, H, W), either memory format.

        Returns:
            Shape (B, num_features).
        """
        features: Tensor = self.backbone(self.normalised(images))
        return features

    def normalised(self, images: Tensor) -> Tensor:
        """What the backbone takes: images in [0, 1], (B, 3, H, W), enlarged and normalised."""
        if self.image_size is not None:
            images = nn.functional.interpolate(images, self.image_size, mode="bilinear")
        # (x - mean) / std in one pass over the images.
        scale = self.std.reciprocal()
        return torch.addcmul(-self.mean * scale, images, scale)

    def extra_repr(self) -> str:
        """What the weights do not tell; features are cached by it."""
        return "" if self.image_size is None else f"image_size={self.image_size}"

    def forward(self, images: Tensor) -> Tensor:
        """Class logits, shape (B, num_classes), of images in [0, 1], shape (B, 3, H, W)."""
        logits: Tensor = self.fc(self.features(images))
        return logits


def init_convolutions(module: nn.Module) -> None:
    """Kaiming-normal weights (fan out, for ReLU) in every convolution of ``module``."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


class LinearHead(nn.Module):
    """A classifier's last layer, as a classifier of features: what losses and scores take."""

    def __init__(self, fc: nn.Linear) -> None:
        """Share ``fc`` with the whole model."""
        super().__init__()
        self.fc = fc

    def features(self, features: Tensor) -> Tensor:
        """The features themselves, shape (B, D)."""
        return features

    def forward(self, features: Tensor) -> Tensor:
        """Logits, shape (B, K)."""
        logits: Tensor = self.fc(features)
        return logits
