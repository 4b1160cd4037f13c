"""Reconstruction losses by name, each from two batches of images to one number per image.

All of them take output and target in the same space, [0, 1], are zero where the two are equal,
and compute in float32 also under autocast.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypedDict, cast

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from study.losses.groups import at_least_float32
from study.losses.names import SMALLEST_IMAGE

DELTA: Final = 0.1
CHARBONNIER_EPS: Final = 1e-3  # Lai et al. 2017
SSIM_WEIGHT: Final = 0.84  # alpha in Zhao et al. 2017

_SCALE_WEIGHTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_COARSEST: Final = 8  # pixels
_FULL_WINDOW_FROM: Final = 176  # pixels; five scales under an 11-pixel window need as many


class ReconstructionLoss(nn.Module):
    """Base of the losses: checks shapes, keeps autocast out, leaves the rest to `per_image`."""

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
        with torch.autocast(output.device.type, enabled=False):
            return self.per_image(at_least_float32(output), at_least_float32(target))

    def per_image(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss (B,) of checked float images (B, 3, H, W)."""
        raise NotImplementedError


def absolute(difference: Tensor) -> Tensor:
    """|d|, elementwise."""
    return difference.abs()


def huber(difference: Tensor, delta: float | Tensor) -> Tensor:
    """Elementwise d^2 / 2 up to |d| = delta, then delta (|d| - delta / 2) (Huber 1964)."""
    size = difference.abs()
    near = size.clamp(max=delta)
    return near * (size - 0.5 * near)


def charbonnier(difference: Tensor, eps: float | Tensor) -> Tensor:
    """Elementwise sqrt(d^2 + eps^2) - eps.

    The form of Lai et al. 2017 (arXiv:1704.03915, section 3.3) less its eps, so that zero is
    zero; written without the subtraction, which loses every digit of a small d.
    """
    squared = difference.square()
    return squared / ((squared + eps * eps).sqrt() + eps)


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


class SSIM(ReconstructionLoss):
    """1 - SSIM, in [0, 2] (Wang et al. 2004), by torchmetrics.

    Gaussian window of 11 pixels, sigma 1.5, data range 1, images continued by reflection.
    """

    def per_image(self, output: Tensor, target: Tensor) -> Tensor:
        """As `ReconstructionLoss.per_image`."""
        _check_size("ssim", output)
        from torchmetrics.functional.image import structural_similarity_index_measure

        similarity = partial(structural_similarity_index_measure, data_range=1.0, reduction="none")
        return _dissimilarity(cast(Similarity, similarity), output, target)


class MultiScaleSSIM(ReconstructionLoss):
    """1 - MS-SSIM, in [0, 1] (Wang et al. 2003), by torchmetrics; scales as `ms_ssim_scales`.

    Differs from the paper in two points. Each scale's term c enters as (c + 1) / 2: the paper's
    powers of c do not exist below zero, and cutting c off at zero leaves no gradient for a
    reconstruction that is anticorrelated with its image. Fewer than five scales take the first
    of the paper's weights, brought to the sum 1.
    """

    def per_image(self, output: Tensor, target: Tensor) -> Tensor:
        """As `ReconstructionLoss.per_image`."""
        _check_size("ms_ssim", output)
        from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

        num_scales, window = ms_ssim_scales(min(output.shape[2:]))
        weights = _SCALE_WEIGHTS[:num_scales]
        similarity = partial(
            multiscale_structural_similarity_index_measure,
            reduction="none",
            data_range=1.0,
            kernel_size=window,
            # torchmetrics takes the window from sigma; this sigma gives the window asked for.
            sigma=1.5 * window / 11,
            betas=tuple(weight / sum(weights) for weight in weights),
            normalize="simple",
        )
        return _dissimilarity(similarity, output, target)


def ms_ssim_scales(image_size: int) -> tuple[int, int]:
    """Scales of MS-SSIM for images of a size: as many halvings as leave 8 pixels, at most five.

    2 scales from 16 pixels, 3 from 32, 4 from 64, 5 from 128; a window of 7 pixels, from 176 on
    the paper's 11.

    Args:
        image_size: the smaller of height and width, in pixels.

    Returns:
        (number of scales, side of the Gaussian window in pixels).

    Raises:
        ValueError: below 16 pixels, where a single scale would be left.
    """
    if image_size < SMALLEST_IMAGE["ms_ssim"]:
        raise ValueError(_too_small("ms_ssim", image_size))
    num_scales = min((image_size // _COARSEST).bit_length(), len(_SCALE_WEIGHTS))
    return num_scales, 11 if image_size >= _FULL_WINDOW_FROM else 7


class L1SSIM(ReconstructionLoss):
    """w (1 - SSIM) + (1 - w) L1.

    After Zhao et al. 2017 (arXiv:1511.08861, section III-D), who take MS-SSIM and weight the L1
    term by a Gaussian; here both are plain means over the image.
    """

    def __init__(self, ssim_weight: float | Tensor = SSIM_WEIGHT) -> None:
        """Take w in [0, 1]."""
        super().__init__()
        self.ssim_weight = ssim_weight
        self.ssim = SSIM()

    def per_image(self, output: Tensor, target: Tensor) -> Tensor:
        """As `ReconstructionLoss.per_image`."""
        _check_size("l1_ssim", output)
        l1 = (output - target).abs().mean(dim=(1, 2, 3))
        ssim = self.ssim.per_image(output, target)
        return self.ssim_weight * ssim + (1 - self.ssim_weight) * l1


class ReconstructionOptions(TypedDict, total=False):
    """Options of the losses; each reads its own and leaves the others alone.

    Attributes:
        delta: Huber's, above 0, in units of the images; default 0.1. From 1 on the loss is half
            the MSE.
        charbonnier_eps: above 0, in units of the images; default 1e-3.
        ssim_weight: weight of the SSIM term in l1_ssim, in [0, 1]; default 0.84.
        perceptual: the `study.losses.perceptual.PerceptualDistance` to use.
    """

    delta: float | Tensor
    charbonnier_eps: float | Tensor
    ssim_weight: float | Tensor
    perceptual: ReconstructionLoss | None


Builder = Callable[[ReconstructionOptions], ReconstructionLoss]
RECONSTRUCTIONS: Final[dict[str, Builder]] = {}


def register(name: str) -> Callable[[Builder], Builder]:
    """Enter a builder under ``name``; it is also to be named in `study.losses.names`.

    Raises:
        ValueError: if the name is taken.
    """

    def enter(builder: Builder) -> Builder:
        if name in RECONSTRUCTIONS:
            raise ValueError(f"reconstruction loss {name!r} is registered twice")
        RECONSTRUCTIONS[name] = builder
        return builder

    return enter


def make_reconstruction(name: str, **options: Unpack[ReconstructionOptions]) -> ReconstructionLoss:
    """The reconstruction loss called ``name``.

    Args:
        name: one of `study.losses.names.RECONSTRUCTION_NAMES`.
        **options: `ReconstructionOptions`; those that the loss does not read are ignored.

    Returns:
        A module from (output, target) in [0, 1], both (B, 3, H, W), to the loss (B,).

    Raises:
        ValueError: for an unknown name or option (listing those there are), an option outside its
            range, or "perceptual" without its distance.
    """
    if name not in RECONSTRUCTIONS:
        raise ValueError(f"unknown reconstruction loss {name!r}; there are {[*RECONSTRUCTIONS]}")
    known = [*ReconstructionOptions.__annotations__]
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f"reconstruction {name}: unknown options {unknown}; there are {known}")
    return RECONSTRUCTIONS[name](options)


@register("l1")
def _l1(_: ReconstructionOptions) -> ReconstructionLoss:
    return Pixelwise(absolute)


@register("mse")
def _mse(_: ReconstructionOptions) -> ReconstructionLoss:
    return Pixelwise(torch.square)


@register("huber")
def _huber(options: ReconstructionOptions) -> ReconstructionLoss:
    delta = _positive("delta", options.get("delta", DELTA))
    return Pixelwise(partial(huber, delta=delta))


@register("charbonnier")
def _charbonnier(options: ReconstructionOptions) -> ReconstructionLoss:
    eps = _positive("charbonnier_eps", options.get("charbonnier_eps", CHARBONNIER_EPS))
    return Pixelwise(partial(charbonnier, eps=eps))


@register("ssim")
def _ssim(_: ReconstructionOptions) -> ReconstructionLoss:
    return SSIM()


@register("ms_ssim")
def _ms_ssim(_: ReconstructionOptions) -> ReconstructionLoss:
    return MultiScaleSSIM()


@register("l1_ssim")
def _l1_ssim(options: ReconstructionOptions) -> ReconstructionLoss:
    weight = options.get("ssim_weight", SSIM_WEIGHT)
    if not isinstance(weight, Tensor) and not 0.0 <= weight <= 1.0:
        raise ValueError(f"ssim_weight: {weight} must be in [0, 1]")
    return L1SSIM(weight)


@register("perceptual")
def _perceptual(options: ReconstructionOptions) -> ReconstructionLoss:
    distance = options.get("perceptual")
    if distance is None:
        raise ValueError(
            "perceptual: this reconstruction loss needs a frozen network; hand in a "
            "PerceptualDistance (study.losses.perceptual) as the option 'perceptual'"
        )
    return distance


def _positive(name: str, value: float | Tensor) -> float | Tensor:
    if not isinstance(value, Tensor) and not value > 0:
        raise ValueError(f"{name}: {value} must be above 0")
    return value


def _dissimilarity(similarity: Similarity, output: Tensor, target: Tensor) -> Tensor:
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


def _check_size(name: str, images: Tensor) -> None:
    size = min(images.shape[2:])
    if size < SMALLEST_IMAGE[name]:
        raise ValueError(_too_small(name, size))


def _too_small(name: str, size: int) -> str:
    least = SMALLEST_IMAGE[name]
    return f"{name}: images of {size} pixels are too small, it takes at least {least} x {least}"
