"""Names and sizes of the backbones, torch-free: a YAML is checked without loading torch.

The rule of sizes: a backbone takes the largest of its strides that leaves maps of at least 4x4
(transformers, whose tokens keep one resolution throughout: 8x8), and below that its smallest. So
ConvNeXt, VGG and DenseNet have stride 8 below 128 pixels and their native 32 from there on; ViT
has patches of 4 below 64 pixels, of 8 below 128, and its native 16 from there on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

_CIFAR: Final = (
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "wrn_40_2",
    "wrn_16_2",
    "wrn_16_4",
    "wrn_28_10",
)
_RESNETS: Final = ("resnet18", "resnet50")
_CONVNEXTS: Final = (
    "convnextv2_atto",
    "convnextv2_femto",
    "convnextv2_pico",
    "convnextv2_nano",
    "convnext_tiny",
)

BACKBONES: tuple[str, ...] = (
    *_CIFAR,
    *_RESNETS,
    *_CONVNEXTS,
    "vgg16_bn",
    "densenet121",
    "vit_tiny",
)
"""Every backbone."""

WITHOUT_DROPOUT: tuple[str, ...] = (*_RESNETS, *_CONVNEXTS, "vgg16_bn")
"""Those that have no place for dropout; a rate above 0 would go unused."""

PRETRAINED: tuple[str, ...] = (*_RESNETS, *_CONVNEXTS, "vgg16_bn", "densenet121", "vit_tiny")
"""Those with ImageNet weights in torchvision or timm."""

WITH_STEMS: tuple[str, ...] = _RESNETS
"""Those that can keep the stem of ImageNet: 7x7 of stride 2, and max-pooling."""

Stem = Literal["small", "imagenet"]
Normalisation = Literal["imagenet", "cifar", "half"]

NORMALISATIONS: Final[dict[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
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

ANY_SIZE: tuple[str, ...] = (*_CIFAR, *_RESNETS)
"""Those whose pooled features take images that their stride does not divide: the maps round up."""

MIN_IMAGE_SIZE: Final = 8
"""Pixels; no backbone takes less."""

_STRIDES: Final[dict[str, tuple[int, ...]]] = {
    **dict.fromkeys(_CIFAR, (4,)),
    **dict.fromkeys(_RESNETS, (8,)),
    **dict.fromkeys((*_CONVNEXTS, "vgg16_bn", "densenet121"), (8, 32)),
    "vit_tiny": (4, 8, 16),
}
NUM_FEATURES: Final[dict[str, int]] = {
    **dict.fromkeys(_CIFAR, 64),
    "wrn_40_2": 128,
    "wrn_16_2": 128,
    "wrn_16_4": 256,
    "wrn_28_10": 640,
    "resnet18": 512,
    "resnet50": 2048,
    "convnextv2_atto": 320,
    "convnextv2_femto": 384,
    "convnextv2_pico": 512,
    "convnextv2_nano": 640,
    "convnext_tiny": 768,
    "vgg16_bn": 512,
    "densenet121": 1024,
    "vit_tiny": 192,
}
"""Width of the penultimate features of every backbone."""

_LEAST_MAPS: Final = 4
_LEAST_TOKENS: Final = 8  # a ViT's grid must hold the image's detail from its first block on
_SMALLEST_MAPS: Final = 2  # below, no 3x3 convolution and no up-sampling has anything to work on


def stride_of(name: str, image_size: int = 32) -> int:
    """Total stride of a backbone built for images of ``image_size`` pixels.

    Raises:
        ValueError: for an unknown name, listing those there are.
    """
    if name not in _STRIDES:
        raise ValueError(f"unknown backbone {name!r}; there are {sorted(BACKBONES)}")
    least = _LEAST_TOKENS if name == "vit_tiny" else _LEAST_MAPS
    strides = _STRIDES[name]
    return max((s for s in strides if image_size // s >= least), default=min(strides))


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
