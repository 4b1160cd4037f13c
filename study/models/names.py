"""Names and sizes of the backbones, torch-free: a YAML is checked without loading torch.

Every file of this folder says in a literal ``BACKBONES`` what it builds (`Declaration` has the
keys). They are read here, not imported, which would bring torch.

The rule of sizes: a backbone takes the largest of its strides that leaves maps of at least 4x4
(transformers, whose tokens keep one resolution throughout: 8x8), and below that its smallest. So
ConvNeXt, VGG and DenseNet have stride 8 below 128 pixels and their native 32 from there on; ViT
has patches of 4 below 64 pixels, of 8 below 128, and its native 16 from there on.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

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


@dataclass(frozen=True)
class Declaration:
    """What a file says of one of its backbones; every attribute but ``file`` is a key there.

    Attributes:
        file: where it stands, and where its ``build(name, *, dropout, image_size)`` is.
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
        head: prefixes of the classifier's tensors in a file of such weights.
        fresh: tensors that may keep their fresh weights where such a file has them otherwise.
    """

    file: Path
    strides: tuple[int, ...]
    num_features: int
    dropout: bool
    least_side: int = 4
    any_size: bool = False
    stems: bool = False
    pretrained: str | None = None
    head: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()


def _is_number(value: object) -> bool:
    return type(value) is int and value > 0


def _is_flag(value: object) -> bool:
    return type(value) is bool


def _are_names(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(one, str) for one in value)


def _are_numbers(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(map(_is_number, value))


def _are_weights(value: object) -> bool:
    return isinstance(value, str) and bool(re.match(r"(timm|torchvision)/.", value))


_KEYS: Final[dict[str, tuple[Callable[[object], bool], str]]] = {
    "strides": (_are_numbers, "a tuple of whole numbers above 0"),
    "num_features": (_is_number, "a whole number above 0"),
    "dropout": (_is_flag, "True or False"),
    "least_side": (_is_number, "a whole number above 0"),
    "any_size": (_is_flag, "True or False"),
    "stems": (_is_flag, "True or False"),
    "pretrained": (_are_weights, "timm/... or torchvision/..."),
    "head": (_are_names, "a tuple of strings"),
    "fresh": (_are_names, "a tuple of strings"),
}
_REQUIRED: Final = ("strides", "num_features", "dropout")
_DECLARES: Final = re.compile(r"^BACKBONES\b", re.MULTILINE)  # only such a file is parsed


def gathered(folder: Path) -> Mapping[str, Declaration]:
    """What the files of a folder declare, by backbone; this file is left out.

    Raises:
        ValueError: naming file, backbone and rule, if a name is declared twice, a declaration is
            no literal of the keys of `Declaration`, or its file lacks the function that builds.
    """
    found: dict[str, Declaration] = {}
    for file in sorted(folder.glob("[!.]*.py")):
        if file.name == Path(__file__).name:
            continue
        for name, one in _declared_in(file):
            if name in found:
                raise ValueError(f"{file}: {name} is declared already, in {found[name].file}")
            found[name] = one
    return MappingProxyType(found)


def _declared_in(file: Path) -> Iterator[tuple[str, Declaration]]:
    text = file.read_text(encoding="utf-8")
    if not _DECLARES.search(text):
        return
    module = ast.parse(text, str(file))
    functions = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
    for node in module.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if not any(isinstance(one, ast.Name) and one.id == "BACKBONES" for one in targets):
            continue
        if not isinstance(node.value, ast.Dict):
            raise ValueError(f"{file}: BACKBONES must be a dict, written out")
        # Entry by entry: of a dict's equal keys the last alone would be left.
        for key, value in zip(node.value.keys, node.value.values, strict=True):
            name = _literal(key, f"{file}: BACKBONES")
            yield name, _declaration(file, name, _literal(value, f"{file}: {name}"), functions)


def _literal(node: ast.expr | None, place: str) -> Any:
    rule = "must be a literal: it is read, not run"
    if node is None:
        raise ValueError(f"{place}: {rule}. Write out what ** stands for")
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{place}: {rule}. Write out {ast.unparse(node)}") from error


def _declaration(file: Path, name: object, given: object, functions: set[str]) -> Declaration:
    place = f"{file}: {name}"
    if not isinstance(name, str) or not isinstance(given, dict):
        raise ValueError(f"{place}: BACKBONES must map names to dicts")
    if unknown := [key for key in given if key not in _KEYS]:
        raise ValueError(f"{place}: unknown key {unknown[0]!r}; there are {sorted(_KEYS)}")
    if missing := [key for key in _REQUIRED if key not in given]:
        raise ValueError(f"{place}: needs the key {missing[0]!r}")
    for key, value in given.items():
        holds, rule = _KEYS[key]
        if not holds(value):
            raise ValueError(f"{place}: {key}: {value!r} must be {rule}")
    for function in ("build", "with_native_stem") if given.get("stems") else ("build",):
        if function not in functions:
            raise ValueError(f"{place}: its file needs a function {function}")
    return Declaration(file, **given)


DECLARED: Final = gathered(Path(__file__).parent)
"""Every backbone's declaration."""

BACKBONES: tuple[str, ...] = tuple(DECLARED)
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


def declaration(name: str) -> Declaration:
    """What is declared of a backbone.

    Raises:
        ValueError: for an unknown name, listing those there are.
    """
    if name not in DECLARED:
        raise ValueError(f"unknown backbone {name!r}; there are {sorted(BACKBONES)}")
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
