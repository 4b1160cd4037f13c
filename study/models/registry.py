"""Backbones by name.

To add one: write a file in this folder with a builder under ``@register("name", ...)``, name the
file in `_MODULES` and the backbone in `study.models.names` (a test compares the two). A builder
takes ``dropout`` and ``image_size`` and returns an nn.Module with ``num_features`` that maps
(B, 3, H, W) to (B, num_features):

    @register("tiny", dropout=False)
    def tiny(*, dropout: float, image_size: int) -> nn.Module:
        return Tiny()
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from torch import nn

    from study.models.classifier import Classifier

# Imported when a name is first asked for: they bring torch, which the registry does not.
_MODULES: Final = (
    "study.models.resnet_cifar",
    "study.models.wrn",
    "study.models.torchvision_resnet",
)
_MIN_IMAGE_SIZE: Final = 8


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
    """

    build: Builder
    dropout: bool


BACKBONES: Final[dict[str, Entry]] = {}


def register(name: str, *, dropout: bool) -> Callable[[Builder], Builder]:
    """Enter a builder under ``name``.

    Args:
        name: what a space calls the backbone.
        dropout: whether it uses the ``dropout`` it is given; one that does not is refused a rate
            above 0, so that no search varies a number that nothing reads.

    Raises:
        ValueError: if the name is taken.
    """

    def enter(builder: Builder) -> Builder:
        if name in BACKBONES:
            raise ValueError(f"backbone {name!r} is registered twice")
        BACKBONES[name] = Entry(builder, dropout)
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


def build_classifier(
    backbone: str,
    num_classes: int,
    *,
    dropout: float = 0.0,
    image_size: int = 32,
    seed: int,
) -> Classifier:
    """A classifier with fresh weights, a pure function of the arguments.

    Dropout itself, in training, draws from torch's global generator: seed it for each epoch.

    Args:
        backbone: one of `backbone_names`.
        num_classes: K >= 2.
        dropout: probability of dropping a unit, in [0, 1).
        image_size: height and width of the images in pixels, >= 8.
        seed: of the initialisation, in [0, 2**63). The global generator is left as it was.

    Returns:
        The classifier, on the CPU, contiguous, in training mode.

    Raises:
        ValueError: for an unknown name (listing those there are), dropout where the backbone has
            none, or an argument outside its range.
    """
    import torch

    from study.models.classifier import Classifier

    entry = _entry(backbone)
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout: {dropout} must be in [0, 1)")
    if dropout > 0 and not entry.dropout:
        able = [name for name, other in sorted(BACKBONES.items()) if other.dropout]
        raise ValueError(f"dropout: {dropout}, but {backbone} has none; these have: {able}")
    if image_size < _MIN_IMAGE_SIZE:
        raise ValueError(f"image_size: {image_size} must be at least {_MIN_IMAGE_SIZE} pixels")
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would also reseed the accelerators.
        torch.default_generator.manual_seed(seed)
        return Classifier(entry.build(dropout=dropout, image_size=image_size), num_classes)


def _entries() -> dict[str, Entry]:
    for module in _MODULES:
        import_module(module)
    return BACKBONES


def _entry(backbone: str) -> Entry:
    entries = _entries()
    if backbone not in entries:
        raise ValueError(f"unknown backbone {backbone!r}; there are {list(backbone_names())}")
    return entries[backbone]
