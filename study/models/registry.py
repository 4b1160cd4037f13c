"""Backbones by name.

To add one, write a file in this folder, and nothing else: a literal ``BACKBONES`` that declares it
(`study.models.names.BackboneDeclaration` has the keys; it is read without running the file), and a
function ``build`` that returns a `study.models.classifier.Backbone`: maps of a total stride, and
their mean as features. Fresh weights come from torch's global generator, which is seeded around
``build``. A library that it needs is imported where it is used, so that only those pay for it who
take the backbone:

    BACKBONES: Final = {"tiny": {"strides": (4,), "num_features": 16, "dropout": False}}

    def build(name: str, *, dropout: float, image_size: int) -> nn.Module:
        return Tiny()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from study.models.names import (
    DECLARED,
    DEFAULT_NETWORK,
    NORMALISATIONS,
    WITH_STEMS,
    Network,
    check_image_size,
    declaration,
)

if TYPE_CHECKING:
    from torch import nn

    from study.models.classifier import Classifier


class BackboneFile(Protocol):
    """The module of a backbone's file; one with a single stem lacks the second function."""

    def build(self, name: str, *, dropout: float, image_size: int) -> nn.Module:
        """A `study.models.classifier.Backbone` with fresh weights from the global generator."""
        ...

    def with_native_stem(self, network: nn.Module) -> None:
        """Give what ``build`` returned the stem of ImageNet, with fresh weights."""
        ...


def source_file(backbone: str) -> Path:
    """The file that ``backbone`` is built in.

    Raises:
        ValueError: for an unknown name, listing those there are.
    """
    return declaration(backbone).file


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
        backbone: one of `study.models.names.BACKBONE_NAMES`.
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
    _check(backbone, dropout, size, maps=False)
    if network.stem == "imagenet":
        _check_native_stem(backbone, size)
    mean, std = NORMALISATIONS[network.normalisation]
    file = _file_of(backbone)
    with seeded(seed):
        body = file.build(backbone, dropout=dropout, image_size=size)
        if network.stem == "imagenet":
            file.with_native_stem(body)
        return Classifier(body, num_classes, mean=mean, std=std, image_size=network.image_size)


def _check_native_stem(backbone: str, image_size: int) -> None:
    if backbone not in WITH_STEMS:
        raise ValueError(f"stem: imagenet is of {list(WITH_STEMS)}, and not of {backbone}")
    if image_size < 32:
        raise ValueError(f"image_size: {image_size}; stem: imagenet has stride 32 and needs that")


def build_backbone(
    name: str, *, dropout: float = 0.0, image_size: int = 32, seed: int
) -> nn.Module:
    """A backbone alone, with the fresh weights that `build_classifier` gives it for that seed.

    Args:
        name: one of `study.models.names.BACKBONE_NAMES`.
        dropout: as for `build_classifier`.
        image_size: pixels, a multiple of the backbone's stride: its maps are to divide the image.
        seed: of the initialisation.

    Returns:
        A `study.models.classifier.Backbone`, on the CPU, contiguous, in training mode.

    Raises:
        ValueError: as `build_classifier`, and for an image size that the stride does not divide.
    """
    _check(name, dropout, image_size, maps=True)
    with seeded(seed):
        return _file_of(name).build(name, dropout=dropout, image_size=image_size)


def _check(backbone: str, dropout: float, image_size: int, *, maps: bool) -> None:
    declared = declaration(backbone)
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout: {dropout} must be in [0, 1)")
    if dropout > 0 and not declared.dropout:
        able = sorted(name for name, other in DECLARED.items() if other.dropout)
        raise ValueError(f"dropout: {dropout}, but {backbone} has none; these have: {able}")
    check_image_size(backbone, image_size, maps=maps)


def _file_of(backbone: str) -> BackboneFile:
    # Imported when the name is asked for: it brings torch, which the registry does not.
    return cast(BackboneFile, import_module(f"study.models.{declaration(backbone).file.stem}"))


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
