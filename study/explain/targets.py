"""Numbers that maps are about: the logit of a class, the similarity logit of a pair.

The similarity logit of an image is s * (b - cos(u, u_partner)) of the upper branch with the
partner held fixed (positive means "different classes"). Training sends the upper branch's gradient
through a reversal layer; a map taken through it would have its sign flipped and be scaled by the
reversal's weight, so the features are taken with the identity in the reversal's place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from study.losses.similarity import Similarity, cosine

_PREFIX = "similarity."  # of the similarity in the loss of the recipe nordf
_FORWARD = 256  # images in one forward


class HasUpper(Protocol):
    """A model with an upper branch, such as NORD-F's."""

    def upper_features(self, images: Tensor) -> Tensor:
        """Features (B, U) of images (B, 3, H, W), the reversal replaced by the identity."""
        ...


def has_upper(model: nn.Module) -> bool:
    """Whether the model has an upper branch to explain."""
    return callable(getattr(model, "upper_features", None))


@dataclass(frozen=True)
class PairLogit:
    """The trained similarity: logit = scale * (offset - cos), positive means "different".

    Attributes:
        scale: s > 0.
        offset: b.
    """

    scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def of(cls, similarity: Similarity) -> PairLogit:
        """As trained so far; the clamp forms compare 1 - cos."""
        if similarity.form == "logit":
            return cls(float(similarity.scale.detach()), float(similarity.offset.detach()))
        return cls(1.0, 1.0)

    @classmethod
    def of_state(cls, loss_state: Mapping[str, Tensor]) -> PairLogit | None:
        """From the state of a loss; None for a loss without learned s and b."""
        own = {
            name.removeprefix(_PREFIX): values
            for name, values in loss_state.items()
            if name.startswith(_PREFIX)
        }
        if not own:
            return None
        similarity = Similarity()
        similarity.load_state_dict(own)
        return cls.of(similarity)


@dataclass(frozen=True)
class Target:
    """One number of each image.

    Attributes:
        model: what is explained.
        function: (images (B, 3, H, W), fixed (B, ...)) -> (B,).
        fixed: what is held fixed beside each image, first dimension B: its class, or the
            features of its partner.
    """

    model: nn.Module
    function: Callable[[Tensor, Tensor], Tensor]
    fixed: Tensor

    @torch.no_grad()
    def values(self, images: Tensor) -> Tensor:
        """The number itself, shape (B,), float32."""
        pieces = (torch.split(one, _FORWARD) for one in (images, self.fixed))
        with calm(self.model, images):
            return torch.cat([self.function(*one).float() for one in zip(*pieces, strict=True)])

    def part(self, rows: slice | Tensor) -> Target:
        """The same for some of the images."""
        return replace(self, fixed=self.fixed[rows])


def class_target(model: nn.Module, classes: Tensor) -> Target:
    """The logit of a given class.

    Args:
        model: images -> logits (B, K).
        classes: which logit of each image, int64, shape (B,).
    """

    def logit(images: Tensor, chosen: Tensor) -> Tensor:
        logits: Tensor = model(images)
        return logits.gather(1, chosen[:, None])[:, 0]

    return Target(model, logit, classes)


def similarity_target(model: nn.Module, partners: Tensor, pair: PairLogit | None = None) -> Target:
    """The similarity logit scale * (offset - cos) of each image with its partner, held fixed.

    For the map of the partner exchange the two: the cosine is symmetric.

    Args:
        model: a `HasUpper`.
        partners: the other image of each pair, float in [0, 1], shape (B, 3, H, W).
        pair: scale and offset of the trained similarity; None takes 1 and 0. The scale scales
            maps and changes no order of pixels; no map depends on the offset.

    Raises:
        ValueError: for a scale that is not positive.
    """
    pair = pair or PairLogit()
    if not pair.scale > 0:
        raise ValueError(
            f"scale: {pair.scale} must be positive; a negative one turns the maps around"
        )
    branch = cast(HasUpper, model)
    with torch.no_grad(), calm(model, partners):
        fixed = branch.upper_features(partners)

    def logit(images: Tensor, other: Tensor) -> Tensor:
        return pair.scale * (pair.offset - cosine(branch.upper_features(images), other))

    return Target(model, logit, fixed)


@contextmanager
def calm(model: nn.Module, images: Tensor) -> Iterator[None]:
    """Evaluation mode and full precision; each module's mode is put back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.autocast(images.device.type, enabled=False):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
