"""Names and sizes of the backbones, torch-free: a YAML is checked without loading torch.

Every file of this folder says in a literal ``BACKBONES`` what it builds (`BackboneDeclaration`
has the keys). They are read here, not imported, which would bring torch.

The rule of sizes: a backbone takes the largest of its strides that leaves maps of at least 4x4
(transformers, whose tokens keep one resolution throughout: 8x8), and below that its smallest. So
ConvNeXt, VGG and DenseNet have stride 8 below 128 pixels and their native 32 from there on; ViT
has patches of 4 below 64 pixels, of 8 below 128, and its native 16 from there on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Final, Literal

from pydantic import Field, PositiveInt

from study.literals import Declaration, read_literals

Stem = Literal["small", "imagenet"]
Normalisation = Literal["imagenet", "cifar", "cifar_per_image", "half", "none"]

NORMALISATIONS: Final[dict[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    # The mean of CIFAR-10's images' own deviations, as kuangliu's code has it, and many after it.
    "cifar_per_image": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""Channel means and deviations of images in [0, 1]."""


@dataclass(frozen=True)
class Network:
    """How a network differs from the backbone of its name.

    Attributes:
        stem: small: for small images, total stride 8. imagenet: the library's own, stride 32.
        normalisation: a name of `NORMALISATIONS`.
        image_size: side in pixels that images are enlarged to, inside the network; None takes
            them as they are.
    """

    stem: Stem = "small"
    normalisation: Normalisation = "imagenet"
    image_size: int | None = None


DEFAULT_NETWORK: Final = Network()


class BackboneDeclaration(Declaration):
    """What a file says of one of its backbones; ``file`` is where its ``build`` is.

    Attributes:
        strides: total strides that it can be built with; `stride_of` chooses by the image size.
        num_features: width of its penultimate features.
        dropout: whether it uses the ``dropout`` it is given; one that does not is refused a rate
            above 0, so that no search varies a number that nothing reads.
        least_side: a stride must leave maps of so many cells a side; 8 for a ViT, whose grid
            must hold the image's detail from its first block on.
        any_size: whether its pooled features take images that the stride does not divide: the
            maps round up.
        stems: whether it can keep the stem of ImageNet (7x7 of stride 2, and max-pooling: total
            stride 32), which its file's ``with_native_stem(network)`` gives it.
        pretrained: its ImageNet weights, as "timm/..." or "torchvision/..." and that library's
            name for them; None where it has none.
        fresh: tensors that may keep their fresh weights where such a file has them otherwise.
    """

    noun: ClassVar[str] = "backbone"
    defines: ClassVar[Mapping[str, str]] = {"build": "def build(name, *, dropout, image_size)"}

    strides: tuple[PositiveInt, ...] = Field(
        min_length=1, description="a tuple of whole numbers above 0"
    )
    num_features: PositiveInt = Field(description="a whole number above 0")
    dropout: bool = Field(description="True or False")
    least_side: PositiveInt = Field(default=4, description="a whole number above 0")
    any_size: bool = Field(default=False, description="True or False")
    stems: bool = Field(default=False, description="True or False")
    pretrained: str | None = Field(
        default=None, pattern="^(timm|torchvision)/.", description="timm/... or torchvision/..."
    )
    fresh: tuple[str, ...] = Field(default=(), description="a tuple of strings")

    def must_define(self) -> Mapping[str, str]:
        """The function that builds it, and one that gives it the stem of ImageNet."""
        stem = {"with_native_stem": "def with_native_stem(network)"}
        return {**self.defines, **(stem if self.stems else {})}


def gathered(folder: Path) -> Mapping[str, BackboneDeclaration]:
    """What the files of a folder declare, by backbone.

    Raises:
        BadInput: naming file, key and rule of everything that is wrong.
    """
    return MappingProxyType(
        read_literals([folder], "BACKBONES", BackboneDeclaration, several=True)
    )


DECLARED: Final = gathered(Path(__file__).parent)
"""Every backbone's declaration."""

BACKBONE_NAMES: tuple[str, ...] = tuple(DECLARED)
"""Every backbone."""

WITHOUT_DROPOUT: tuple[str, ...] = tuple(n for n, one in DECLARED.items() if not one.dropout)
"""Those that have no place for dropout; a rate above 0 would go unused."""

PRETRAINED: tuple[str, ...] = tuple(n for n, one in DECLARED.items() if one.pretrained)
"""Those with ImageNet weights in torchvision or timm."""

WITH_STEMS: tuple[str, ...] = tuple(n for n, one in DECLARED.items() if one.stems)
"""Those that can keep the stem of ImageNet."""

ANY_SIZE: tuple[str, ...] = tuple(n for n, one in DECLARED.items() if one.any_size)
"""Those whose pooled features take images that their stride does not divide."""

NUM_FEATURES: Final = MappingProxyType({n: one.num_features for n, one in DECLARED.items()})
"""Width of the penultimate features of every backbone."""

MIN_IMAGE_SIZE: Final = 8
"""Pixels; no backbone takes less."""

_SMALLEST_MAPS: Final = 2  # below, no 3x3 convolution and no up-sampling has anything to work on


def declaration(name: str) -> BackboneDeclaration:
    """What is declared of a backbone.

    Raises:
        ValueError: for an unknown name, listing those there are.
    """
    if name not in DECLARED:
        raise ValueError(f"unknown backbone {name!r}; there are {sorted(DECLARED)}")
    return DECLARED[name]


def stride_of(name: str, image_size: int = 32) -> int:
    """Total stride of a backbone built for images of ``image_size`` pixels.

    Raises:
        ValueError: for an unknown name, listing those there are.
    """
    one = declaration(name)
    fitting = (stride for stride in one.strides if image_size // stride >= one.least_side)
    return max(fitting, default=min(one.strides))


def size_fault(name: str, image_size: int, *, maps: bool = True) -> str:
    """What is wrong with an image size, and the way out; empty where nothing is.

    Args:
        name: a backbone.
        image_size: height and width in pixels.
        maps: whether the backbone's maps must divide the image exactly, as a decoder needs; its
            pooled features alone are less strict for those in `ANY_SIZE`.

    Raises:
        ValueError: for an unknown name.
    """
    stride = stride_of(name, image_size)
    if name in ANY_SIZE and not maps:
        least, step = MIN_IMAGE_SIZE, 1
    else:
        least, step = max(MIN_IMAGE_SIZE, _SMALLEST_MAPS * stride), stride
    if image_size < least:
        return f"must be at least {least} pixels for {name} (stride {stride})"
    if image_size % step:
        below = image_size // step * step
        near = f"{below} or {below + step}"
        return f"must be a multiple of {step}, the stride of {name} at that size. Take {near}"
    return ""


def check_image_size(name: str, image_size: int, *, maps: bool = True) -> None:
    """Refuse an image size that a backbone cannot serve; see `size_fault`.

    Raises:
        ValueError: naming the size, the rule and the way out, or for an unknown name.
    """
    if fault := size_fault(name, image_size, maps=maps):
        raise ValueError(f"image_size: {image_size} {fault}")
