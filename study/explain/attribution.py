"""Saliency maps through captum: which pixels a number that the model gives rests on.

Two numbers of an image can be asked about: the logit of a class, and the similarity logit
s * (b - cos(u, u_partner)) of the upper branch with the partner held fixed (positive means
"different classes"). Training sends the upper branch's gradient through a reversal layer; a map
taken through it would have its sign flipped and be scaled by the reversal's weight, so the
features are taken with the identity in the reversal's place.

Everything runs in evaluation mode, in full precision, and leaves no gradient in the parameters.
A map does not depend on the other images of its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from study.explain.references import Reference, reference_images
from study.losses.similarity import cosine
from study.seeding import seed_of

Method = Literal["integrated_gradients", "smoothgrad", "saliency", "grad_cam"]
METHODS: tuple[str, ...] = get_args(Method)

_CHUNK = 16  # images explained at a time; integrated gradients takes `steps` forwards of each


class HasUpper(Protocol):
    """A model with an upper branch, such as NORD-F's."""

    def upper_features(self, images: Tensor) -> Tensor:
        """Features (B, U) of images (B, 3, H, W), the reversal replaced by the identity."""
        ...


@dataclass(frozen=True)
class MapOptions:
    """How maps are made.

    Attributes:
        method: "integrated_gradients" (Sundararajan et al. 2017, arXiv:1703.01365), "smoothgrad"
            (Smilkov et al. 2017, arXiv:1706.03825), "saliency" (the gradient's size; Simonyan et
            al. 2014, arXiv:1312.6034) or "grad_cam" (Selvaraju et al. 2017, arXiv:1610.02391, on
            the backbone's last maps; their sign is kept).
        steps: points of integrated gradients, Gauss-Legendre.
        baseline: where integrated gradients starts.
        samples: noisy copies of SmoothGrad.
        noise: standard deviation of their noise; images lie in [0, 1].
        seed: of the noise; every image gets the same draws.
    """

    method: Method = "integrated_gradients"
    steps: int = 32
    baseline: Reference = "grey"
    samples: int = 16
    noise: float = 0.1
    seed: int = 0


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
        with _calm(self.model, images):
            return self.function(images, self.fixed).float()

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


def similarity_target(
    model: nn.Module, partners: Tensor, *, scale: float = 1.0, offset: float = 0.0
) -> Target:
    """The similarity logit scale * (offset - cos) of each image with its partner, held fixed.

    For the map of the partner exchange the two: the cosine is symmetric.

    Args:
        model: a `HasUpper`.
        partners: the other image of each pair, float in [0, 1], shape (B, 3, H, W).
        scale: s > 0 of the trained similarity; it scales maps and changes no order of pixels.
        offset: b of the trained similarity; no map depends on it.

    Raises:
        ValueError: for a scale that is not positive.
    """
    if not scale > 0:
        raise ValueError(f"scale: {scale} must be positive; a negative one turns the maps around")
    branch = cast(HasUpper, model)
    with torch.no_grad(), _calm(model, partners):
        fixed = branch.upper_features(partners)

    def logit(images: Tensor, other: Tensor) -> Tensor:
        return scale * (offset - cosine(branch.upper_features(images), other))

    return Target(model, logit, fixed)


def attribute(target: Target, images: Tensor, options: MapOptions) -> Tensor:
    """The map of each image for its target.

    Args:
        target: of the same B images.
        images: float in [0, 1], shape (B, 3, H, W).
        options: the method and its settings.

    Returns:
        Shape (B, H, W), float32, on the CPU. Integrated gradients and Grad-CAM are signed:
        positive pixels raise the target; integrated gradients sums to f(image) - f(baseline).
        The other two are sizes of gradients, summed over channels, never negative.

    Raises:
        ValueError: for an unknown method, or Grad-CAM on a model without maps.
    """
    if options.method not in METHODS:
        raise ValueError(f"method: {options.method!r} must be one of {', '.join(METHODS)}")
    explain = _EXPLAINERS[options.method]
    parts = []
    with _calm(target.model, images), torch.enable_grad():
        for start in range(0, len(images), _CHUNK):
            rows = slice(start, start + _CHUNK)
            # a leaf that wants a gradient, so that captum has nothing to warn of
            leaf = images[rows].detach().clone().requires_grad_()
            parts.append(explain(target.part(rows), leaf, options).detach().float().cpu())
    return torch.cat(parts)


def _integrated_gradients(target: Target, images: Tensor, options: MapOptions) -> Tensor:
    from captum.attr import IntegratedGradients  # half a second, and matplotlib, to import

    attributions: Tensor = IntegratedGradients(target.function).attribute(
        images,
        baselines=reference_images(images.detach(), options.baseline),
        additional_forward_args=target.fixed,
        n_steps=options.steps,
    )
    return attributions.sum(dim=1)


def _saliency(target: Target, images: Tensor, options: MapOptions) -> Tensor:
    from captum.attr import Saliency

    del options
    gradients: Tensor = Saliency(target.function).attribute(
        images, additional_forward_args=target.fixed
    )
    return gradients.sum(dim=1)


def _smoothgrad(target: Target, images: Tensor, options: MapOptions) -> Tensor:
    """The size of the mean gradient over noisy copies, as in the paper.

    One image at a time, each with the same stream: captum draws for a whole batch at once, and
    from the global generators.
    """
    from captum.attr import NoiseTunnel, Saliency

    tunnel = NoiseTunnel(Saliency(target.function))
    maps = []
    for row in range(len(images)):
        with _seeded(images.device, seed_of(options.seed, "smoothgrad")):
            gradient: Tensor = tunnel.attribute(
                images[row : row + 1],
                nt_samples=options.samples,
                stdevs=options.noise,
                abs=False,
                additional_forward_args=target.fixed[row : row + 1],
            )
        maps.append(gradient.abs().sum(dim=1))
    return torch.cat(maps)


def _grad_cam(target: Target, images: Tensor, options: MapOptions) -> Tensor:
    from captum.attr import LayerGradCam

    del options
    with _tapped_maps(target, images) as layer:
        coarse: Tensor = LayerGradCam(target.function, layer).attribute(
            images, additional_forward_args=target.fixed
        )
    size = images.shape[-2:]
    return interpolate(coarse, size=size, mode="bilinear", align_corners=False)[:, 0]


_EXPLAINERS: dict[str, Callable[[Target, Tensor, MapOptions], Tensor]] = {
    "integrated_gradients": _integrated_gradients,
    "saliency": _saliency,
    "smoothgrad": _smoothgrad,
    "grad_cam": _grad_cam,
}


@contextmanager
def _tapped_maps(target: Target, images: Tensor) -> Iterator[nn.Module]:
    """A module through which the backbone's maps pass: captum listens at modules only."""
    backbone: Any = getattr(target.model, "backbone", None)
    original = getattr(backbone, "maps", None)
    if not callable(original):
        raise ValueError("grad_cam: this backbone has no maps; take another method")
    tap, passed = nn.Identity(), []

    def tapped(normalised: Tensor) -> Tensor:
        passed.append(True)
        maps: Tensor = tap(original(normalised))
        return maps

    backbone.maps = tapped  # hides the class's method until it is deleted again
    try:
        with torch.no_grad():
            target.function(images[:1], target.fixed[:1])
        if not passed:
            raise ValueError("grad_cam: the model does not use its backbone's maps")
        yield tap
    finally:
        del backbone.maps


@contextmanager
def _calm(model: nn.Module, images: Tensor) -> Iterator[None]:
    """Evaluation mode and full precision; each module's mode is put back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.autocast(images.device.type, enabled=False):
            yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """The global generators as if seeded with ``seed``; afterwards as they were."""
    index = device.index if device.index is not None else 0
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[index] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
