"""Backbones by name.

To add one: write a file in this folder with a builder under ``@register("name", ...)``, name the
file in `_MODULES` and the backbone in `study.models.names` (a test compares the two). A builder
takes ``dropout`` and ``image_size`` and returns a `study.models.classifier.Backbone`: maps of a
total stride, and their mean as features. A library that it needs is imported inside the builder,
so that only those pay for it who use it:

    @register("tiny", dropout=False)
    def tiny(*, dropout: float, image_size: int) -> nn.Module:
        return Tiny()
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from study.models.names import (
    DEFAULT_NETWORK,
    MIN_IMAGE_SIZE,
    NORMALISATIONS,
    WITH_STEMS,
    Network,
    check_image_size,
)

if TYPE_CHECKING:
    from torch import nn

    from study.models.classifier import Classifier

# Imported when a name is first asked for: they bring torch, which the registry does not.
_MODULES: Final = (
    "study.models.resnet_cifar",
    "study.models.wrn",
    "study.models.torchvision_resnet",
    "study.models.convnext",
    "study.models.vgg",
    "study.models.densenet",
    "study.models.vit",
)


class Builder(Protocol):
    """Builds a backbone with fresh weights from torch's global generator."""

    def __call__(self, *, dropout: float, image_size: int) -> nn.Module:
        """A `study.models.classifier.Backbone`."""
        ...


@dataclass(frozen=True)
class Entry:
    """A registered backbone.

    Attributes:
        build: its builder.
        dropout: whether the builder can place dropout.
        pretrained: its ImageNet weights, as "timm/..." or "torchvision/..." and that library's
            name for them; None where it has none.
    """

    build: Builder
    dropout: bool
    pretrained: str | None = None


BACKBONES: Final[dict[str, Entry]] = {}


def register(
    name: str, *, dropout: bool, pretrained: str | None = None
) -> Callable[[Builder], Builder]:
    """Enter a builder under ``name``.

    Args:
        name: what a space calls the backbone.
        dropout: whether it uses the ``dropout`` it is given; one that does not is refused a rate
            above 0, so that no search varies a number that nothing reads.
        pretrained: see `Entry`.

    Raises:
        ValueError: if the name is taken.
    """

    def enter(builder: Builder) -> Builder:
        if name in BACKBONES:
            raise ValueError(f"backbone {name!r} is registered twice")
        BACKBONES[name] = Entry(builder, dropout, pretrained)
        return builder

    return enter


def backbone_names() -> tuple[str, ...]:
    """Every name that `build_classifier` takes, sorted."""
    return tuple(sorted(_entries()))


def source_file(backbone: str) -> Path:
    """The file that ``backbone`` is built in.

    Raises:
        ValueError: for an unknown name, listing those there are.
    """
    return Path(inspect.getfile(inspect.unwrap(_entry(backbone).build)))


def takes_dropout(backbone: str) -> bool:
    """Whether ``backbone`` can have dropout.

    Raises:
        ValueError: for an unknown name, listing those there are.
    """
    return _entry(backbone).dropout


def imagenet_weights(backbone: str) -> str | None:
    """The ImageNet weights that ``backbone`` has in its library; see `Entry`.

    Raises:
        ValueError: for an unknown name, listing those there are.
    """
    return _entry(backbone).pretrained


def build_classifier(
    backbone: str,
    num_classes: int,
    *,
    dropout: float = 0.0,
    image_size: int = 32,
    seed: int,
    network: Network = DEFAULT_NETWORK,
) -> Classifier:
    """A classifier with fresh weights, a pure function of the arguments.

    Dropout itself, in training, draws from torch's global generator: seed it for each epoch.

    Args:
        backbone: one of `backbone_names`.
        num_classes: K >= 2.
        dropout: probability of dropping a unit, in [0, 1).
        image_size: height and width of the images in pixels, >= 8; a multiple of the backbone's
            stride, but for those in `study.models.names.ANY_SIZE`.
        seed: of the initialisation, in [0, 2**63). The global generator is left as it was.
        network: its stem, its normalisation, and what images are enlarged to.

    Returns:
        The classifier, on the CPU, contiguous, in training mode.

    Raises:
        ValueError: for an unknown name (listing those there are), dropout where the backbone has
            none, or an argument outside its range.
    """
    from study.models.classifier import Classifier

    size = network.image_size or image_size
    entry = _checked(backbone, dropout, size)
    mean, std = NORMALISATIONS[network.normalisation]
    with seeded(seed):
        body = entry.build(dropout=dropout, image_size=size)
        if network.stem == "imagenet":
            _with_native_stem(backbone, body, size)
        return Classifier(body, num_classes, mean=mean, std=std, image_size=network.image_size)


def _with_native_stem(backbone: str, body: nn.Module, image_size: int) -> None:
    if backbone not in WITH_STEMS:
        raise ValueError(f"stem: imagenet is of {list(WITH_STEMS)}, and not of {backbone}")
    if image_size < 32:
        raise ValueError(f"image_size: {image_size}; stem: imagenet has stride 32 and needs that")
    import_module("study.models.torchvision_resnet").with_native_stem(body)


def build_backbone(
    name: str, *, dropout: float = 0.0, image_size: int = 32, seed: int
) -> nn.Module:
    """A backbone alone, with the fresh weights that `build_classifier` gives it for that seed.

    Args:
        name: one of `backbone_names`.
        dropout: as for `build_classifier`.
        image_size: pixels, a multiple of the backbone's stride: its maps are to divide the image.
        seed: of the initialisation.

    Returns:
        A `study.models.classifier.Backbone`, on the CPU, contiguous, in training mode.

    Raises:
        ValueError: as `build_classifier`, and for an image size that the stride does not divide.
    """
    entry = _checked(name, dropout, image_size)
    check_image_size(name, image_size)
    with seeded(seed):
        return entry.build(dropout=dropout, image_size=image_size)


def _checked(backbone: str, dropout: float, image_size: int) -> Entry:
    entry = _entry(backbone)
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout: {dropout} must be in [0, 1)")
    if dropout > 0 and not entry.dropout:
        able = [name for name, other in sorted(BACKBONES.items()) if other.dropout]
        raise ValueError(f"dropout: {dropout}, but {backbone} has none; these have: {able}")
    if image_size < MIN_IMAGE_SIZE:
        raise ValueError(f"image_size: {image_size} must be at least {MIN_IMAGE_SIZE} pixels")
    return entry


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generator at ``seed`` within, and afterwards as it was.

    For building what draws its own fresh weights; nothing else may use the global generator.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would also reseed the accelerators.
        torch.default_generator.manual_seed(seed)
        yield


def _entries() -> dict[str, Entry]:
    for module in _MODULES:
        import_module(module)
    return BACKBONES


def _entry(backbone: str) -> Entry:
    entries = _entries()
    if backbone not in entries:
        raise ValueError(f"unknown backbone {backbone!r}; there are {list(backbone_names())}")
    return entries[backbone]
