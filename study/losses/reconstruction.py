"""What a reconstruction loss is: from two batches of images to one number per image.

All of them take output and target in the same space, [0, 1], are zero where the two are equal,
and compute in float32 also under autocast. Each is a file of `study.losses.reconstructions`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import torch
from torch import Tensor, nn

from study.losses import reconstructions
from study.losses.groups import at_least_float32
from study.losses.names import RECONSTRUCTIONS


class ReconstructionLoss(nn.Module):
    """Base of the losses: checks shapes, keeps autocast out, leaves the rest to `per_image`.

    Attributes:
        name: of its file, where `make_reconstruction` made it.
    """

    name = ""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss of each image.

        Args:
            output: reconstructed images in [0, 1], shape (B, 3, H, W), any float dtype.
            target: the images themselves, the same space and shape.

        Returns:
            Shape (B,), at least float32, differentiable in ``output``.

        Raises:
            ValueError: if the shapes differ, are not 4-D, or are too small for the loss.
        """
        if output.ndim != 4 or output.shape != target.shape:
            raise ValueError(
                f"output {tuple(output.shape)} and target {tuple(target.shape)} must both be "
                "(B, 3, H, W)"
            )
        if self.name:
            check_size(self.name, min(output.shape[2:]))
        with torch.autocast(output.device.type, enabled=False):
            return self.per_image(at_least_float32(output), at_least_float32(target))

    def per_image(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss (B,) of checked float images (B, 3, H, W)."""
        raise NotImplementedError


Similarity = Callable[[Tensor, Tensor], Tensor]
"""Of two batches of images, image by image: (B,), 1 where they are equal."""


class Pixelwise(ReconstructionLoss):
    """Mean over an image's pixels and channels of a function of the difference."""

    def __init__(self, distance: Callable[[Tensor], Tensor]) -> None:
        """Take the elementwise ``distance``, zero at zero."""
        super().__init__()
        self.distance = distance

    def per_image(self, output: Tensor, target: Tensor) -> Tensor:
        """As `ReconstructionLoss.per_image`."""
        return self.distance(output - target).mean(dim=(1, 2, 3))


def check_size(name: str, size: int) -> None:
    """Refuse images that are too small for a loss.

    Args:
        name: a key of `study.losses.names.RECONSTRUCTIONS`.
        size: the smaller of height and width, in pixels.

    Raises:
        ValueError: with the least size.
    """
    least = RECONSTRUCTIONS[name].least_image_size
    if size < least:
        raise ValueError(
            f"{name}: images of {size} pixels are too small, it takes at least {least} x {least}"
        )


def dissimilarity(similarity: Similarity, output: Tensor, target: Tensor) -> Tensor:
    """1 - similarity; exactly zero where the images are equal."""
    dtype = output.dtype
    if output.device.type == "cuda":
        # SSIM takes the difference of two nearly equal means of squares. CUDA's convolutions
        # round float32 to TF32 unless told not to, which leaves nothing of it.
        output, target = output.double(), target.double()
    with torch.no_grad():
        # 1 but for rounding, which in flat bright images takes up to 3e-3 from equal ones.
        one = similarity(target, target)
    return (one - similarity(output, target)).to(dtype)


def make_reconstruction(
    name: str, *, perceptual: ReconstructionLoss | None = None, **parameters: float | Tensor
) -> ReconstructionLoss:
    """The reconstruction loss called ``name``.

    Args:
        name: a key of `study.losses.names.RECONSTRUCTIONS`.
        perceptual: the `study.losses.perceptual.PerceptualDistance`, for a loss that takes it.
        **parameters: those of the loss that differ from their defaults, within their bounds.

    Returns:
        A module from (output, target) in [0, 1], both (B, 3, H, W), to the loss (B,).

    Raises:
        ValueError: for a missing distance.
    """
    declared = RECONSTRUCTIONS[name]
    options = {key: one.default for key, one in declared.parameters.items()} | parameters
    if declared.perceptual:
        if perceptual is None:
            raise ValueError(
                f"{name}: this reconstruction loss needs a frozen network; hand in a "
                "PerceptualDistance (study.losses.perceptual) as the option 'perceptual'"
            )
        options["perceptual"] = perceptual
    made: ReconstructionLoss = import_module(f"{reconstructions.__name__}.{name}").Loss(**options)
    made.name = name
    return made
