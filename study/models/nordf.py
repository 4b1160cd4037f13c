"""NORD-F: a classifier with an upper branch behind gradient reversal and a reconstruction.

No paper could be identified; the architecture is that of the public NORD-F code, with the widths
as parameters, as many up-samplings as the backbone has strides, and group norm as a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

import torch
from torch import Tensor, nn

from study.models.classifier import MEAN, STD, Backbone, init_convolutions
from study.models.decoder import Decoder, Norm, norm_of
from study.models.reversal import reverse_gradient

_LAST_WIDTH: Final = 16  # of the decoder, at the image's size; it doubles with every halving


@dataclass(frozen=True)
class NordFOutput:
    """What one forward gives, B images.

    Attributes:
        logits: class logits, (B, K).
        upper: features of the upper branch after ReLU, flattened, (B, U).
        class_features: features of the classification branch's convolution after ReLU,
            flattened, (B, V).
        penultimate: input of the last linear layer, (B, P).
        reconstruction: in [0, 1], (B, 3, H, W); None where it was not asked for.
    """

    logits: Tensor
    upper: Tensor
    class_features: Tensor
    penultimate: Tensor
    reconstruction: Tensor | None


class NordF(nn.Module):
    """Shared maps, and three branches on them.

    - shared: the backbone's maps, then a 1x1 convolution.
    - upper: gradient reversal, 3x3 convolution, norm, ReLU.
    - classification: 3x3 convolution, norm, ReLU, flatten, linear layers with ReLU and dropout
      between.
    - reconstruction: a decoder of the maps of both. What it sends back through the upper branch
      passes the reversal too, as in the public code.

    ``backbone``, ``mean`` and ``std`` are named as in `study.models.classifier.Classifier`, so
    that its weights fit by name; no other name is shared.

    Attributes:
        num_classes: K.
        num_upper: U, width of the flattened upper features.
        num_class_features: V, the same of the classification branch.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        *,
        image_size: int,
        width: int = 128,
        branch_channels: int = 64,
        head_widths: Sequence[int] = (256, 128),
        dropout: float = 0.5,
        norm: Norm = "batch",
        decoder_widths: Sequence[int] | None = None,
        decoder_blocks: int = 2,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
    ) -> None:
        """Put the branches on ``backbone``; fresh weights come from torch's global generator.

        Args:
            backbone: has ``num_features``, ``stride`` and ``maps``.
            num_classes: K >= 2.
            image_size: height and width of the images in pixels, a multiple of the stride.
            width: channels of the 1x1 convolution (1024 in the public code, on 768).
            branch_channels: channels of each branch's 3x3 convolution.
            head_widths: of the linear layers before the last.
            dropout: after each of them, in [0, 1).
            norm: "batch" or "group", in the branches and the decoder.
            decoder_widths: channels after each up-sampling, as many as log2 of the stride; None
                for 16 at the image's size and twice as many with every halving.
            decoder_blocks: residual blocks after each up-sampling.
            mean: channel means for images in [0, 1].
            std: channel standard deviations, the same.

        Raises:
            ValueError: naming what does not fit.
        """
        super().__init__()
        parts = cast(Backbone, backbone)
        num_steps = up_samplings(parts.stride, image_size)
        _check(num_classes, dropout, (width, branch_channels, *head_widths))
        widths = _decoder_widths(decoder_widths, num_steps)
        make_norm = norm_of(norm)
        self.num_classes = num_classes
        self.image_size = image_size
        self.num_upper = self.num_class_features = (
            branch_channels * (image_size // parts.stride) ** 2
        )
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.backbone = backbone
        self.shared = nn.Conv2d(parts.num_features, width, 1)
        self.upper = _branch(width, branch_channels, make_norm)
        self.classification = _branch(width, branch_channels, make_norm)
        self.hidden = _hidden(self.num_class_features, head_widths, dropout)
        self.output = nn.Linear((self.num_class_features, *head_widths)[-1], num_classes)
        self.decoder = Decoder(2 * branch_channels, widths, blocks=decoder_blocks, norm=norm)

    def forward(self, images: Tensor) -> Tensor:
        """Class logits, (B, K), of images in [0, 1], (B, 3, H, W)."""
        features = self.classification(self._shared_maps(images)).flatten(1)
        logits: Tensor = self.output(self.hidden(features))
        return logits

    def branches(
        self, images: Tensor, *, reversal: float | Tensor | None = None, reconstruct: bool = True
    ) -> NordFOutput:
        """All branches in one forward.

        Args:
            images: float, in [0, 1], (B, 3, H, W), either memory format.
            reversal: w, what the gradient of the upper branch is multiplied by, negated; None
                leaves the gradient as it is.
            reconstruct: False spares the decoder.

        Raises:
            ValueError: if the images are not of ``image_size``, or as `reverse_gradient`.
        """
        shared = self._shared_maps(images)
        upper = self.upper(shared if reversal is None else reverse_gradient(shared, reversal))
        classification = self.classification(shared)
        features = classification.flatten(1)
        penultimate = self.hidden(features)
        both = torch.cat([upper, classification], dim=1) if reconstruct else None
        return NordFOutput(
            logits=self.output(penultimate),
            upper=upper.flatten(1),
            class_features=features,
            penultimate=penultimate,
            reconstruction=None if both is None else self.decoder(both),
        )

    def upper_features(self, images: Tensor) -> Tensor:
        """Upper features (B, U), without a reversal: what saliency takes gradients of."""
        features: Tensor = self.upper(self._shared_maps(images)).flatten(1)
        return features

    def _shared_maps(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1:] != (3, self.image_size, self.image_size):
            size = self.image_size
            raise ValueError(
                f"images: shape {tuple(images.shape)}, must be (B, 3, {size}, {size}): the model "
                "was built for this size. Build another for other images"
            )
        scale = self.std.reciprocal()
        normalised = torch.addcmul(-self.mean * scale, images, scale)
        maps: Tensor = self.shared(cast(Backbone, self.backbone).maps(normalised))
        return maps


def up_samplings(stride: int, image_size: int) -> int:
    """Up-samplings that bring maps of total ``stride`` back to ``image_size``: log2(stride).

    Raises:
        ValueError: if ``stride`` is not a power of two or does not divide ``image_size``.
    """
    if stride < 1 or stride & (stride - 1):
        raise ValueError(
            f"stride: {stride} of the backbone must be a power of two (1, 2, 4 ...): each "
            "up-sampling of the decoder doubles the size. Choose another backbone"
        )
    if image_size < stride or image_size % stride:
        below = image_size // stride * stride
        near = [size for size in (below, below + stride) if size]
        raise ValueError(
            f"image_size: {image_size} is not a multiple of the backbone's stride {stride}; "
            f"take images of {' or '.join(map(str, near))} pixels, or another backbone"
        )
    return stride.bit_length() - 1


def _decoder_widths(given: Sequence[int] | None, num_steps: int) -> tuple[int, ...]:
    if given is None:
        return tuple(_LAST_WIDTH << step for step in reversed(range(num_steps)))
    if len(given) != num_steps:
        raise ValueError(
            f"decoder_widths: {list(given)} must have {num_steps} numbers, one for each "
            "halving of the backbone"
        )
    return tuple(given)


def _check(num_classes: int, dropout: float, widths: Sequence[int]) -> None:
    faults = []
    if num_classes < 2:
        faults.append(f"num_classes: {num_classes} must be at least 2")
    if not 0.0 <= dropout < 1.0:
        faults.append(f"dropout: {dropout} must be in [0, 1)")
    if any(width < 1 for width in widths):
        faults.append(f"width, branch_channels, head_widths: {list(widths)} must be at least 1")
    if faults:
        raise ValueError("; ".join(faults))


def _branch(num_in: int, num_out: int, norm: Callable[[int], nn.Module]) -> nn.Sequential:
    convolution = nn.Conv2d(num_in, num_out, 3, padding=1, bias=False)
    branch = nn.Sequential(convolution, norm(num_out), nn.ReLU(inplace=True))
    init_convolutions(branch)
    return branch


def _hidden(num_in: int, widths: Sequence[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in zip((num_in, *widths), widths, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    return nn.Sequential(*layers)
