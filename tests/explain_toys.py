"""Small models with the branches that saliency explains, and images to explain."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from study.data.images import ImageSet
from study.explain.choice import ChosenImages

SIZE = 8
CLASSES = ("cat", "dog", "frog")


class ToyBackbone(nn.Module):
    """Maps of half the size; batch norm, so that the mode matters."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6)

    def maps(self, images: Tensor) -> Tensor:
        return torch.nn.functional.softplus(self.norm(self.convolution(images)))

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images).mean(dim=(2, 3))


class ToyNordF(nn.Module):
    """A classifier, an upper branch and a reconstruction over one backbone; smooth throughout."""

    def __init__(self, seed: int = 0, classes: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.backbone = ToyBackbone()
            self.dropout = nn.Dropout(0.5)
            self.upper = nn.Conv2d(6, 4, 1)
            self.fc = nn.Linear(6 * 16, classes)
            self.upper.weight.data.mul_(10)  # else all positive features look alike
            self.backbone.norm.running_mean.uniform_(-0.2, 0.2)
            self.backbone.norm.running_var.uniform_(0.5, 1.5)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.dropout(self.backbone.maps(images).flatten(1)))
        return logits

    def upper_features(self, images: Tensor) -> Tensor:
        return torch.nn.functional.softplus(self.upper(self.backbone.maps(images))).flatten(1)

    def branches(self, images: Tensor, *, reconstruct: bool = True) -> Any:
        return SimpleNamespace(reconstruction=images * 0.5 if reconstruct else None)


def toy_batch(count: int = 4, seed: int = 0) -> Tensor:
    """Images (count, 3, SIZE, SIZE) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, SIZE, SIZE, generator=generator)


def toy_chosen(count: int = 4, name: str = "val_id", seed: int = 0) -> ChosenImages:
    """Images of noise with partners."""
    generator = np.random.default_rng(seed)
    pixels, partners = generator.integers(0, 256, (2, count, SIZE, SIZE, 3), dtype=np.uint8)
    labels = np.arange(count) % 3 if name == "val_id" else np.full(count, -1)
    ids = np.array([f"{row:03d}" for row in range(count)], dtype="S3")
    classes = CLASSES if name == "val_id" else ()
    others = ImageSet.make("val_id", partners, labels=(np.arange(count) + 1) % 3, classes=CLASSES)
    images = ImageSet.make(name, pixels, labels=labels, ids=ids, classes=classes)
    return ChosenImages(name, images, others, np.arange(count))
