"""Perceptual reconstruction loss: the distance between feature maps of a frozen network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Literal, Protocol, Self, get_args

import torch
from torch import Tensor

from study.losses.reconstruction import ReconstructionLoss
from study.losses.reconstructions.huber import huber

Inner = Literal["l1", "mse", "huber"]
INNERS: Final[tuple[Inner, ...]] = get_args(Inner)
FEATURE_DELTA: Final = 1.0


class FeatureNetwork(Protocol):
    """What the distance needs of a network: `study.models.frozen_networks.FrozenNetwork` is one.

    Attributes:
        default_layers: the layers taken where none are named.
    """

    default_layers: tuple[str, ...]

    def __call__(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Feature maps (B, ...) by layer, of images in [0, 1]."""
        ...

    def check_layers(self, layers: Sequence[str]) -> tuple[str, ...]:
        """The layers; ValueError, listing those there are, for one that does not exist."""
        ...

    def to(self, device: torch.device) -> Any:
        """Move the network."""
        ...


class PerceptualDistance(ReconstructionLoss):
    """Sum over layers of weight times the mean inner distance of the two images' feature maps.

    The feature reconstruction loss of Johnson et al. 2016 (arXiv:1603.08155, section 3.2, Eq. 2)
    with a choice of the inner distance. The network normalises both images the same way, once.

    The network is no child of this module: its weights are neither in ``parameters()`` nor in
    ``state_dict()``, and ``train()`` does not reach it. It follows to another device, and stays
    in its own dtype.

    Attributes:
        layers: the layers compared.
        layer_weights: their weights, (L,).
    """

    layer_weights: Tensor

    def __init__(
        self,
        network: FeatureNetwork,
        layers: Sequence[str] | None = None,
        inner: Inner = "l1",
        layer_weights: Sequence[float] | None = None,
    ) -> None:
        """Compare images through ``network``.

        Args:
            network: frozen, from images in [0, 1] to feature maps by layer.
            layers: names of its layers; None takes its default ones.
            inner: the distance of two feature maps, one of `INNERS`.
            layer_weights: one weight >= 0 a layer, in the order of ``layers``; None is 1/L each.

        Raises:
            ValueError: for a layer that does not exist or is named twice, an unknown inner
                distance, or weights that do not fit.
        """
        super().__init__()
        self.layers = network.check_layers(network.default_layers if layers is None else layers)
        weights = _weights(layer_weights, self.layers)
        # A buffer tells on which device the module is; it is a setting, so it is not saved.
        self.register_buffer("layer_weights", torch.tensor(weights), persistent=False)
        self._distance = _inner(inner)
        # In a tuple, where nn.Module does not look for children.
        self._network = (network,)

    def per_image(self, output: Tensor, target: Tensor) -> Tensor:
        """As `ReconstructionLoss.per_image`."""
        (network,) = self._network
        with torch.no_grad():
            wanted = network(target, self.layers)
        found = network(output, self.layers)
        distances = [
            self._distance(found[layer] - wanted[layer]).flatten(1).mean(dim=1)
            for layer in self.layers
        ]
        return (torch.stack(distances, dim=1) * self.layer_weights).sum(dim=1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Take the network along to another device, but not to half precision."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._network[0].to(self.layer_weights.device)
        return self


def _inner(name: str) -> Callable[[Tensor], Tensor]:
    if name not in INNERS:
        raise ValueError(f"inner: unknown distance {name!r}; there are {list(INNERS)}")
    if name == "huber":
        return partial(huber, delta=FEATURE_DELTA)
    return torch.abs if name == "l1" else torch.square


def _weights(weights: Sequence[float] | None, layers: tuple[str, ...]) -> list[float]:
    if weights is None:
        return [1 / len(layers)] * len(layers)
    if len(weights) != len(layers):
        raise ValueError(f"layer_weights: {len(weights)} of them for the layers {list(layers)}")
    if min(weights) < 0 or sum(weights) == 0:
        raise ValueError(f"layer_weights: {list(weights)} must be >= 0, and one of them above 0")
    return [float(weight) for weight in weights]
