"""Numbers that say whether maps can be believed: deletion, randomised weights, agreement."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.explain.estimates import Estimate, Floats, mean_with_interval, rank_correlations
from study.explain.options import Reference
from study.explain.references import reference_images
from study.explain.targets import Target
from study.models.registry import seeded
from study.seeding import numpy_generator, seed_of

Layers = Literal["top", "all"]
MakeMaps = Callable[[nn.Module], Tensor]
FRACTIONS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
_RANDOM_ORDERS = 5


@dataclass(frozen=True)
class Deletion:
    """Does the target fall faster when the pixels that a map points at are taken away?

    The area under the target's fall f(image) - f(image with holes) over the share of deleted
    pixels, divided by the largest share: the mean fall, in logits.

    Attributes:
        area: of the map's own order.
        random: of random orders, the mean of five.
        over_random: paired difference; above 0 the map finds pixels that matter.
        over_other: the same against the order of another image's map: above 0 it is about this
            image and not only about where objects stand. None for a single image.
        curve: mean fall at each of ``FRACTIONS``.
        random_curve: the same in random order.
    """

    area: Estimate
    random: Estimate
    over_random: Estimate
    over_other: Estimate | None
    curve: tuple[float, ...]
    random_curve: tuple[float, ...]


def deletion(
    target: Target, images: Tensor, maps: Tensor, groups: NDArray[np.bytes_], seed: int, name: str
) -> Deletion:
    """Replace the most salient pixels first by the blurred image's, and watch the target.

    Deletion curves after Petsiuk et al. 2018 (arXiv:1806.07421), up to half of the pixels: what
    is left beyond is no image. Pixels are ordered by the signed map where it has a sign.

    Args:
        target: of the same images.
        images: float in [0, 1], shape (N, 3, H, W).
        maps: shape (N, H, W).
        groups: source group of each image, shape (N,).
        seed: of random orders and intervals.
        name: of the set, part of the streams' names.
    """
    num = len(images)
    generator = numpy_generator(seed, "deletion", name)
    pixels = maps[0].numel()
    flat = maps.reshape(num, -1).double().numpy()
    # ties (a flat map) must not mean "from the top left corner on"
    tie_break = generator.permuted(np.tile(np.arange(pixels), (num, 1)), axis=1)
    order = np.lexsort((tie_break, -flat), axis=1)
    fall = _falls(target, images, order)
    drawn = [
        generator.permuted(np.tile(np.arange(pixels), (num, 1)), axis=1)
        for _ in range(_RANDOM_ORDERS)
    ]
    random = np.mean([_falls(target, images, one) for one in drawn], axis=0)
    area, random_area = _area(fall), _area(random)
    over_other = None
    if num > 1:
        others = _area(_falls(target, images, np.roll(order, 1, axis=0)))
        over_other = mean_with_interval(area - others, groups, seed, "other", name)
    return Deletion(
        mean_with_interval(area, groups, seed, "deletion", name),
        mean_with_interval(random_area, groups, seed, "deletion random", name),
        mean_with_interval(area - random_area, groups, seed, "deletion over random", name),
        over_other,
        tuple(fall.mean(axis=0).tolist()),
        tuple(random.mean(axis=0).tolist()),
    )


def _falls(target: Target, images: Tensor, order: NDArray[np.int64]) -> Floats:
    """Fall of the target after each of ``FRACTIONS``, (N, F), pixels deleted in ``order``."""
    num, pixels = order.shape
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.tile(np.arange(pixels), (num, 1)), axis=1)
    place = torch.from_numpy(rank).view(num, 1, *images.shape[-2:]).to(images.device)
    fill = reference_images(images, "blur")
    values = []
    for fraction in FRACTIONS:
        holed = torch.where(place < round(fraction * pixels), fill, images)
        values.append(target.values(holed).double().cpu().numpy())
    table: Floats = np.stack(values, axis=1)
    return table[:, :1] - table


def _area(falls: Floats) -> Floats:
    return np.asarray(np.trapezoid(falls, FRACTIONS, axis=1) / FRACTIONS[-1])


def weight_randomisation(
    model: nn.Module,
    make_maps: MakeMaps,
    groups: NDArray[np.bytes_],
    *,
    layers: Layers,
    seed: int,
    name: str,
) -> Estimate:
    """Rank correlation of maps before and after layers lose what they learned.

    The cascading check of Adebayo et al. 2018 (arXiv:1810.03292), at two depths. A map that stays
    the same does not tell what the model has learned. Compared by size, without the sign.

    Args:
        model: trained; left as it is.
        make_maps: model -> maps (N, H, W) of the same images.
        groups: source group of each image, shape (N,).
        layers: "top" (all outside the backbone) or "all".
        seed: of the new weights and the interval.
        name: of what is explained, part of the streams' names.
    """
    before = make_maps(model).abs().double().numpy()
    after = make_maps(randomised(model, layers, seed)).abs().double().numpy()
    correlation = rank_correlations(before, after)
    return mean_with_interval(correlation, groups, seed, "randomised", layers, name)


def randomised(model: nn.Module, layers: Layers, seed: int) -> nn.Module:
    """A copy of the model whose ``layers`` are initialised anew.

    A module with an initialisation of its own takes that, with its running statistics; other
    parameters (tokens, scales) have their values shuffled.
    """
    fresh = copy.deepcopy(model)
    with seeded(seed_of(seed, "randomised weights")):
        for name, module in fresh.named_modules():
            if layers == "all" or name.partition(".")[0] != "backbone":
                _forget(module)
    return fresh


@torch.no_grad()
def _forget(module: nn.Module) -> None:
    own = list(module.parameters(recurse=False))
    reset = getattr(module, "reset_parameters", None)
    if callable(reset) and own:
        device = own[0].device
        # on the CPU, so that every machine draws the same
        module.cpu()
        reset()
        module.to(device)
        return
    for parameter in own:
        values = parameter.detach().cpu().flatten()
        shuffled = values[torch.randperm(values.numel())].view_as(parameter)
        parameter.copy_(shuffled.to(parameter.device))


def completeness_gap(target: Target, images: Tensor, maps: Tensor, baseline: Reference) -> float:
    """Median over images of how far integrated gradients misses f(image) - f(baseline).

    Relative to that difference, a fraction; a large one asks for more steps.

    Args:
        target: of the same images.
        images: float in [0, 1], shape (N, 3, H, W).
        maps: signed maps, shape (N, H, W).
        baseline: that they were made with.
    """
    wanted = target.values(images) - target.values(reference_images(images, baseline))
    wanted = wanted.double().cpu()
    gap = (maps.double().sum(dim=(1, 2)) - wanted).abs()
    return float((gap / wanted.abs().clamp_min(1e-12)).median())


def agreement(
    first: Tensor, second: Tensor, groups: NDArray[np.bytes_], seed: int, name: str
) -> Estimate:
    """Mean rank correlation of two maps of each image, by size, without the sign.

    Whether the two branches look at the same pixels: evidence for a class and evidence for
    "different" have signs that cannot be compared.

    Args:
        first: maps of one branch, shape (N, H, W).
        second: of the other.
        groups: source group of each image, shape (N,).
        seed: of the interval.
        name: of the set.
    """
    correlation = rank_correlations(first.abs().double().numpy(), second.abs().double().numpy())
    return mean_with_interval(correlation, groups, seed, "agreement", name)
