"""Everything that a picture or a check needs of a model on some images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.data.batches import to_float
from study.data.images import Pixels
from study.explain.attribution import (
    MapOptions,
    Target,
    attribute,
    class_target,
    similarity_target,
)
from study.explain.choice import ChosenImages
from study.explain.pair import PairLogit

Floats = NDArray[np.float32]
_FORWARD = 256


@dataclass(frozen=True, eq=False)
class Explanation:
    """A model's answers and maps for N images.

    Attributes:
        predicted: class, int64, shape (N,).
        confidence: its softmax probability, shape (N,).
        class_maps: of the predicted class's logit, shape (N, H, W).
        reconstruction: float in [0, 1], shape (N, H, W, 3); None where the model has none.
        cosine: of the upper features with the partner's, shape (N,); None without the branch.
        similarity_maps: of the similarity logit with respect to the image, shape (N, H, W).
    """

    predicted: NDArray[np.int64]
    confidence: Floats
    class_maps: Tensor
    reconstruction: Floats | None = None
    cosine: Floats | None = None
    similarity_maps: Tensor | None = None


def has_upper(model: nn.Module) -> bool:
    """Whether the model has an upper branch to explain."""
    return callable(getattr(model, "upper_features", None))


def as_images(pixels: Pixels, device: torch.device) -> Tensor:
    """uint8 (N, H, W, 3) as float32 (N, 3, H, W) in [0, 1] on ``device``."""
    return to_float(torch.from_numpy(np.array(pixels)).to(device), channels_last=False)


def class_target_of(
    model: nn.Module, predicted: NDArray[np.int64], device: torch.device
) -> Target:
    """The logit of each image's predicted class."""
    return class_target(model, torch.from_numpy(predicted).to(device))


def similarity_target_of(
    model: nn.Module, chosen: ChosenImages, pair: PairLogit, device: torch.device
) -> Target:
    """The similarity logit of each image with its partner."""
    partners = as_images(chosen.partner_pixels, device)
    return similarity_target(model, partners, scale=pair.scale, offset=pair.offset)


def explain(
    model: nn.Module,
    chosen: ChosenImages,
    options: MapOptions,
    device: torch.device,
    pair: PairLogit | None = None,
) -> Explanation:
    """Answers and maps of a model for chosen images.

    Args:
        model: on ``device``; its mode is left as it was.
        chosen: the images and their partners.
        options: how maps are made.
        device: where to compute.
        pair: scale and offset of the similarity logit; None takes 1 and 0, which changes a map's
            scale alone.

    Returns:
        Maps and answers; what the model has no branch for is None.
    """
    images = as_images(chosen.pixels, device)
    predicted, confidence = _predict(model, images)
    maps = attribute(class_target_of(model, predicted, device), images, options)
    if not has_upper(model):
        return Explanation(predicted, confidence, maps)
    cosine = -similarity_target_of(model, chosen, PairLogit(), device).values(images)
    target = similarity_target_of(model, chosen, pair or PairLogit(), device)
    return Explanation(
        predicted,
        confidence,
        maps,
        _reconstruct(model, images),
        cosine.cpu().numpy(),
        attribute(target, images, options),
    )


def _predict(model: nn.Module, images: Tensor) -> tuple[NDArray[np.int64], Floats]:
    rows = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    every_logit = Target(model, lambda batch, _: cast(Tensor, model(batch)), rows)
    parts = [
        every_logit.values(images[start : start + _FORWARD])
        for start in range(0, len(images), _FORWARD)
    ]
    confidence, predicted = torch.cat(parts).softmax(dim=1).max(dim=1)
    return predicted.cpu().numpy(), confidence.cpu().numpy()


def _reconstruct(model: Any, images: Tensor) -> Floats | None:
    if not callable(getattr(model, "branches", None)):
        return None
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            image = model.branches(images, reconstruct=True).reconstruction
    finally:
        model.train(training)
    if image is None:
        return None
    plain: Floats = image.float().clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
    return plain
