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
from study.explain.attribution import attribute
from study.explain.choice import ChosenImages
from study.explain.options import MapOptions
from study.explain.targets import (
    PairLogit,
    Target,
    calm,
    class_target,
    has_upper,
    similarity_target,
)

CLASS, SIMILARITY = "class", "similarity"
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Explanation:
    """A model's answers and maps for N images.

    Attributes:
        predicted: class, int64, shape (N,).
        confidence: its softmax probability, shape (N,).
        maps: by branch, shape (N, H, W): ``CLASS``, of the predicted class's logit;
            ``SIMILARITY``, of the similarity logit with respect to the image, where the model
            has that branch.
        reconstruction: float in [0, 1], shape (N, H, W, 3); None where the model has none.
        cosine: of the upper features with the partner's, shape (N,); None without the branch.
    """

    predicted: NDArray[np.int64]
    confidence: Floats
    maps: dict[str, Tensor]
    reconstruction: Floats | None = None
    cosine: Floats | None = None


def as_images(pixels: Pixels, device: torch.device) -> Tensor:
    """uint8 (N, H, W, 3) as float32 (N, 3, H, W) in [0, 1] on ``device``."""
    return to_float(torch.from_numpy(np.array(pixels)).to(device), channels_last=False)


@dataclass(frozen=True)
class Branches:
    """What is asked of a model about some images.

    Attributes:
        images: float in [0, 1], shape (N, 3, H, W).
        partners: the ID image that each is compared with, likewise.
        predicted: the class whose logit is explained, int64, shape (N,).
        pair: scale and offset of the similarity logit; None takes 1 and 0, which changes a map's
            scale alone.
    """

    images: Tensor
    partners: Tensor
    predicted: Tensor
    pair: PairLogit | None

    @classmethod
    def of(
        cls,
        chosen: ChosenImages,
        predicted: NDArray[np.int64],
        pair: PairLogit | None,
        device: torch.device,
    ) -> Branches:
        """The same of images and classes in NumPy's arrays."""
        images, partners = chosen.images.pixels, chosen.partner_pixels
        classes = torch.from_numpy(predicted).to(device)
        return cls(as_images(images, device), as_images(partners, device), classes, pair)

    def target(self, branch: str, model: nn.Module) -> Target:
        """The number of ``model`` that ``branch`` is about."""
        if branch == CLASS:
            return class_target(model, self.predicted)
        return similarity_target(model, self.partners, self.pair)


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
    images = as_images(chosen.images.pixels, device)
    predicted, confidence = _predict(model, images)
    asked = Branches.of(chosen, predicted, pair, device)
    names = (CLASS, SIMILARITY) if has_upper(model) else (CLASS,)
    maps = {name: attribute(asked.target(name, model), images, options) for name in names}
    if SIMILARITY not in maps:
        return Explanation(predicted, confidence, maps)
    cosine = -similarity_target(model, asked.partners).values(images)
    reconstruction = reconstructed(model, images)
    return Explanation(predicted, confidence, maps, reconstruction, cosine.cpu().numpy())


def _predict(model: nn.Module, images: Tensor) -> tuple[NDArray[np.int64], Floats]:
    rows = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    every_logit = Target(model, lambda batch, _: cast(Tensor, model(batch)), rows)
    confidence, predicted = every_logit.values(images).softmax(dim=1).max(dim=1)
    return predicted.cpu().numpy(), confidence.cpu().numpy()


def reconstructed(model: Any, images: Tensor) -> Floats | None:
    """What a model makes of images, float in [0, 1], (N, H, W, 3); None where it makes nothing.

    Args:
        model: its mode is left as it was.
        images: float in [0, 1], (N, 3, H, W), on the model's device.
    """
    if not callable(getattr(model, "branches", None)):
        return None
    with torch.no_grad(), calm(model, images):
        image = model.branches(images, reconstruct=True).reconstruction
    if image is None:
        return None
    plain: Floats = image.float().clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
    return plain
