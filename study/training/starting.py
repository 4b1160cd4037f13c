"""What the trials of a study start from, or look at, as arrays that travel to workers once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.models.names import DEFAULT_NETWORK, Network
from study.models.registry import build_classifier
from study.models.weights import load_into

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class BaseWeights:
    """A trained classifier as plain values.

    Attributes:
        backbone: name in the registry.
        dropout: of the backbone.
        num_classes: K.
        image_size: side of the images, pixels.
        weights: its state dict, as (perhaps read-only) arrays.
        network: its stem and its normalisation.
    """

    backbone: str
    dropout: float
    num_classes: int
    image_size: int
    weights: Arrays
    network: Network = DEFAULT_NETWORK

    def build(self) -> nn.Module:
        """The classifier with its weights."""
        model = build_classifier(
            self.backbone,
            self.num_classes,
            dropout=self.dropout,
            image_size=self.image_size,
            seed=0,
            network=self.network,
        )
        load_into(model, tensors(self.weights), "base")
        return model


@dataclass(frozen=True, eq=False)
class Starting:
    """What trials start from.

    Attributes:
        base: the study's base model, which recipes may look at; None without one.
        weights: backbone -> the weights that a trial with it starts from; without an entry it
            starts from its fresh initialisation.
        others: of an ablation whose arms start from several bases, the others by their names.
    """

    base: BaseWeights | None = None
    weights: Mapping[str, Arrays] = field(default_factory=dict)
    others: Mapping[str, BaseWeights] = field(default_factory=dict)

    def base_of(self, name: str) -> BaseWeights | None:
        """The base of this name."""
        return self.others.get(name, self.base)

    def weights_of(self, name: str, backbone: str) -> Arrays | None:
        """What a trial of this base and backbone starts from; None for fresh weights."""
        return self.others[name].weights if name in self.others else self.weights.get(backbone)


def network_of(model: Mapping[str, Any]) -> Network:
    """The network of a section ``model``; older records tell nothing of it."""
    return Network(
        model.get("stem", DEFAULT_NETWORK.stem),
        model.get("normalisation", DEFAULT_NETWORK.normalisation),
        model.get("image_size"),
    )


def tensors(arrays: Arrays) -> dict[str, Tensor]:
    """Writable tensors of arrays that may be shared, read-only memory."""
    return {name: torch.tensor(values) for name, values in arrays.items()}
