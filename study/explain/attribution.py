"""Saliency maps through captum: which pixels a number that the model gives rests on.

Everything runs in evaluation mode, in full precision, and leaves no gradient in the parameters.
A map does not depend on the other images of its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from study.explain.options import MapOptions, Method
from study.explain.references import reference_images
from study.explain.targets import Target, calm
from study.extras import needed
from study.seeding import seed_of

_CHUNK = 16  # images explained at a time; integrated gradients takes `steps` forwards of each


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
        ValueError: for Grad-CAM on a model without maps.
    """
    explain = _EXPLAINERS[options.method]
    parts = []
    with calm(target.model, images), torch.enable_grad():
        for start in range(0, len(images), _CHUNK):
            rows = slice(start, start + _CHUNK)
            # a leaf that wants a gradient, so that captum has nothing to warn of
            leaf = images[rows].detach().clone().requires_grad_()
            parts.append(explain(target.part(rows), leaf, options).detach().float().cpu())
    return torch.cat(parts)


def _integrated_gradients(target: Target, images: Tensor, options: MapOptions) -> Tensor:
    attributions: Tensor = (
        _captum()
        .IntegratedGradients(target.function)
        .attribute(
            images,
            baselines=reference_images(images.detach(), options.baseline),
            additional_forward_args=target.fixed,
            n_steps=options.steps,
        )
    )
    return attributions.sum(dim=1)


def _saliency(target: Target, images: Tensor, _: MapOptions) -> Tensor:
    gradients: Tensor = (
        _captum().Saliency(target.function).attribute(images, additional_forward_args=target.fixed)
    )
    return gradients.sum(dim=1)


def _smoothgrad(target: Target, images: Tensor, options: MapOptions) -> Tensor:
    """The size of the mean gradient over noisy copies, as in the paper.

    One image at a time, each with the same stream: captum draws for a whole batch at once, and
    from the global generators.
    """
    tunnel = _captum().NoiseTunnel(_captum().Saliency(target.function))
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


def _grad_cam(target: Target, images: Tensor, _: MapOptions) -> Tensor:
    with _tapped_maps(target, images) as layer:
        coarse: Tensor = (
            _captum()
            .LayerGradCam(target.function, layer)
            .attribute(images, additional_forward_args=target.fixed)
        )
    size = images.shape[-2:]
    return interpolate(coarse, size=size, mode="bilinear", align_corners=False)[:, 0]


def _captum() -> Any:
    # half a second, and matplotlib, to import
    return needed("captum", "captum.attr")


_EXPLAINERS: dict[Method, Callable[[Target, Tensor, MapOptions], Tensor]] = {
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
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """The global generators as if seeded with ``seed``; afterwards as they were."""
    index = device.index if device.index is not None else 0
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[index] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
