"""Networks with fixed weights, asked for their feature maps: what perceptual losses look through.

Images of any size are taken as they are, in [0, 1]; the networks of ImageNet are not fed larger
copies of small images.
"""

from __future__ import annotations

import copy
import http.client
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import torch
from torch import Tensor, nn

from study.errors import BadInput, Fault
from study.models.checkpoint_files import read_checkpoint
from study.models.checkpoints import network_in
from study.models.classifier import MEAN, STD
from study.models.weights import load_into

if TYPE_CHECKING:
    from study.models.classifier import Classifier


class _AllSeen(Exception):
    """Every wanted layer has answered; the rest of the network need not run."""


class FrozenNetwork(nn.Module):
    """Images in [0, 1] -> normalised -> feature maps of named layers.

    Its parameters need no gradient and it is always in evaluation mode, whatever a parent module
    is told; gradients pass through it to the images. A pass ends at the deepest wanted layer.

    Attributes:
        network: the network inside, from normalised images.
        default_layers: the layers taken where none are named.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        default_layers: Sequence[str],
        *,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
    ) -> None:
        """Freeze ``network`` itself, not a copy.

        Args:
            network: from normalised images (B, 3, H, W) to anything.
            default_layers: dotted names of modules inside it.
            mean: the channel means that it was trained with, for images in [0, 1].
            std: the channel standard deviations, the same.

        Raises:
            ValueError: for a layer that does not exist.
        """
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.network = network
        self.default_layers = self.check_layers(default_layers)
        self.requires_grad_(False)
        self.train(False)

    def forward(self, images: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Feature maps of the images.

        Args:
            images: float, in [0, 1], shape (B, 3, H, W).
            layers: dotted names of modules; None takes `default_layers`. Of a module that runs
                several times in a pass, the first output counts.

        Returns:
            Layer name -> its output, (B, ...), in the order of ``layers``.

        Raises:
            ValueError: for a layer that does not exist, that no pass reaches, or whose output is
                not a tensor.
        """
        wanted = self.default_layers if layers is None else self.check_layers(layers)
        found: dict[str, Tensor] = {}
        hooks = [
            self.network.get_submodule(name).register_forward_hook(_keep(name, found, len(wanted)))
            for name in wanted
        ]
        scale = self.std.reciprocal()
        try:
            self.network(torch.addcmul(-self.mean * scale, images, scale))
        except _AllSeen:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        if missed := [name for name in wanted if name not in found]:
            raise ValueError(f"layers: a pass through the network never reaches {missed}")
        return {name: found[name] for name in wanted}

    def check_layers(self, layers: Sequence[str]) -> tuple[str, ...]:
        """The layers, once it is known that the network has them.

        Raises:
            ValueError: for none, a layer that is named twice, or one that does not exist, listing
                those there are down to the second level.
        """
        if not layers or len(set(layers)) < len(layers):
            raise ValueError(f"layers: {list(layers)} must name one layer or more, each once")
        present = {name for name, _ in self.network.named_modules() if name}
        if unknown := [name for name in layers if name not in present]:
            upper = [name for name, _ in self.network.named_modules() if 0 < _depth(name) <= 2]
            raise ValueError(f"layers: the network has no {unknown}; there are {upper}")
        return tuple(layers)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode; ``mode`` is what a parent module was told."""
        del mode
        return super().train(False)


def _keep(name: str, found: dict[str, Tensor], num_wanted: int) -> Callable[..., None]:
    """A forward hook that puts a module's first output into ``found``."""

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        del module, inputs
        if name in found:
            return
        if not isinstance(output, Tensor):
            raise ValueError(f"layers: {name} gives a {type(output).__name__}, not a tensor")
        # A copy: an activation that works in place may come next.
        found[name] = output.clone()
        if len(found) == num_wanted:
            raise _AllSeen

    return hook


def _depth(name: str) -> int:
    return len(name.split(".")) if name else 0


# The ends of stages, by what the backbone's family calls them; the first that is there counts.
_STAGES: Final = (
    ("layer1", "layer2", "layer3"),
    ("block1", "block2", "block3"),
    ("stages.0", "stages.1", "stages.2"),
    ("features.denseblock1", "features.denseblock2", "features.denseblock3"),
    ("features.5", "features.12", "features.22", "features.32"),  # VGG-16-BN's last ReLUs
    ("blocks.2", "blocks.5", "blocks.8"),
)


def classifier_layers(classifier: Classifier) -> tuple[str, ...]:
    """The layers of a classifier's backbone that a perceptual loss takes by default.

    Raises:
        ValueError: if the backbone is of no family that has such layers.
    """
    names = {name for name, _ in classifier.backbone.named_modules()}
    for layers in _STAGES:
        if names.issuperset(layers):
            return layers
    upper = [name for name in names if 0 < _depth(name) <= 2]
    raise ValueError(
        f"layers: no default ones for {type(classifier.backbone).__name__}; name some of "
        f"{sorted(upper)}"
    )


def frozen_classifier(
    classifier: Classifier, default_layers: Sequence[str] | None = None
) -> FrozenNetwork:
    """A frozen copy of a classifier's backbone, with the classifier's own normalisation.

    Args:
        classifier: stays as it is and may go on training.
        default_layers: dotted names inside its backbone ("layer1", "layer2.0"); None takes
            `classifier_layers`.

    Raises:
        ValueError: for a layer that does not exist.
    """
    layers = classifier_layers(classifier) if default_layers is None else default_layers
    return FrozenNetwork(
        copy.deepcopy(classifier.backbone),
        layers,
        mean=classifier.mean.flatten().tolist(),
        std=classifier.std.flatten().tolist(),
    ).to(classifier.mean.device)


# Default layers of torchvision's networks, and their heads, which no loss looks at.
_IMAGENET: Final = {
    # relu1_2, relu2_2, relu3_3 and relu4_3, as Johnson et al. 2016 have it.
    "vgg16": (("features.3", "features.8", "features.15", "features.22"), "classifier"),
    "resnet50": (("layer1", "layer2", "layer3"), "fc"),
    # The last blocks at strides 4, 8 and 16.
    "efficientnet_b0": (("features.2", "features.3", "features.5"), "classifier"),
    "convnext_tiny": (("features.1", "features.3", "features.5"), "classifier"),
}

IMAGENET_NETWORKS: Final = tuple(_IMAGENET)
"""Names that `imagenet_network` takes."""


def imagenet_network(
    name: str, weights: Path | None = None, default_layers: Sequence[str] | None = None
) -> FrozenNetwork:
    """A frozen network of torchvision with its ImageNet weights.

    Args:
        name: one of `IMAGENET_NETWORKS`.
        weights: a file in torchvision's layout (.safetensors, or .pth read without running what a
            pickle may hold); None takes torchvision's IMAGENET1K_V1, from its own cache or by
            download.
        default_layers: dotted names inside the network; None takes the last layers of stages.

    Raises:
        ValueError: for an unknown layer, listing those there are.
        BadInput: if the file cannot be read or is of another network, or there are no weights on
            this machine and none to be had.
    """
    layers, head = _IMAGENET[name]
    network = FrozenNetwork(_empty(name, head), default_layers or layers)
    tensors = _downloaded(name) if weights is None else read_checkpoint(weights)
    source = f"torchvision's {name}" if weights is None else str(weights)
    _fill(network.network, tensors, head, source)
    return network


def _empty(name: str, head: str) -> nn.Module:
    """The network without its head, and with memory for weights that are yet to come."""
    from torchvision import models

    # On the meta device nothing is drawn: no time, and no global generator.
    with torch.device("meta"):
        network: nn.Module = models.get_model(name, weights=None)
    setattr(network, head, nn.Identity())
    return network.to_empty(device="cpu")


def _fill(network: nn.Module, tensors: Mapping[str, Any], head: str, source: str) -> None:
    """Load all of the network's weights; the file's head goes unused."""
    expected = network.state_dict()
    try:
        given = network_in(tensors, expected).tensors
    except ValueError as error:
        rule = f"{error}; this network's keys are {sorted(expected)[:3]} ..."
        raise BadInput(Fault(source, "", rule, "Give a file in torchvision's layout.")) from error
    body = {key: value for key, value in given.items() if not key.startswith(f"{head}.")}
    for key in expected:
        # Evaluation never reads the counter, and old files lack it.
        if key.endswith("num_batches_tracked"):
            body.setdefault(key, torch.tensor(0))
    load_into(network, body, source)


def _downloaded(name: str) -> dict[str, Tensor]:
    from torchvision import models

    entry = models.get_model_weights(name)["IMAGENET1K_V1"]
    try:
        tensors: dict[str, Tensor] = entry.get_state_dict(
            progress=False, check_hash=True, map_location="cpu", weights_only=True
        )
    except (OSError, EOFError, RuntimeError, http.client.HTTPException) as error:
        rule = (
            "its ImageNet weights are not in torch's cache and cannot be downloaded "
            f"({type(error).__name__}: {error})"
        )
        way_out = f"Give a file ({entry.url}), or take the project's own base, which needs none."
        raise BadInput(Fault("perceptual network", name, rule, way_out)) from error
    return tensors
