"""ImageNet weights for a backbone, from a file in timm's or torchvision's own names.

Self-supervised checkpoints keep the same names some levels down; `study.models.ssl` finds them.

Where a backbone's stem was changed for small images, a patch stem's kernel is summed over the
pixels that fall on one: the small network then computes what the native one computes on the image
enlarged so many times, pixel by pixel. A ViT's positional embedding is resized by timm's bicubic
rule. A 7x7 stem that became 3x3 (ResNet, DenseNet) has no such equal and keeps its fresh weights.
VGG's poolings hold no weights.
"""

from __future__ import annotations

import argparse
import math
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from study.errors import BadInput
from study.models.names import BackboneDeclaration, declaration
from study.models.ssl import Network, network_in
from study.models.weights import StateDict, load_weights

_WRAPPERS: Final = ("state_dict", "model")  # where training scripts keep the weights in a .pth
_PATCH_STEMS: Final = ("stem.0.weight", "patch_embed.proj.weight")
_POSITIONS: Final = "pos_embed"
_COUNTER: Final = "num_batches_tracked"
_MOST_NAMES: Final = 6
_WAY_OUT: Final = "Take the file again from where it came, or give a .safetensors of it."


@dataclass(frozen=True)
class Reinitialised:
    """What of a file did not go into a backbone as it stands; names without a ``backbone.``.

    Attributes:
        tensors: the backbone's tensors that keep their fresh weights.
        fitted: those that were brought to the backbone's shape (summed kernel, resized positions).
        unused: the file's tensors that have no place, those of its classifier; of what stands
            elsewhere in a checkpoint, such as a projector, the beginning of the names.
        layout: where in the file the network is, such as "online_backbone.module"; empty for
            the top.
    """

    tensors: tuple[str, ...] = ()
    fitted: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    layout: str = ""


# timm's norm behind the pooling is ours before it; torchvision's files of DenseNet have names
# with a point that modules may no longer have.
_LAST_NORM: Final = (re.compile(r"^head\.norm\."), "norm_pre.")
_DENSE: Final = (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)"), r"\1\2")


def load_imagenet(backbone_name: str, model: nn.Module, path: Path | None) -> Reinitialised:
    """Copy ImageNet weights into a backbone: all that it has, or an error and none.

    The weights were trained on images normalised with ImageNet's means and deviations
    (`study.models.classifier.MEAN`), also those that the library fetches for ViT-Tiny.

    Args:
        backbone_name: its name in `study.models.names`.
        model: the backbone, freshly built, or what holds it as ``backbone``.
        path: a file with the names of timm or torchvision at its top or in one of the layouts of
            `study.models.ssl`, safetensors or pickled (read without running what a pickle may
            hold); None to let the library download its own weights
            into its own cache.

    Returns:
        What was re-initialised, fitted in shape, and left unused.

    Raises:
        ValueError: if the backbone has no ImageNet weights, they cannot be fetched or read, or
            they are another network's, naming the tensors. The model is then as it was.
    """
    declared = declaration(backbone_name)
    weights = declared.pretrained
    if weights is None:
        raise ValueError(f"{backbone_name} has no ImageNet weights; start it from scratch")
    backbone = getattr(model, "backbone", model)
    expected = backbone.state_dict()
    if path is None:
        network = Network(_fetched(weights), "", ())
    else:
        network = _stored(path, backbone_name, expected)
    loaded, unfit, told = _matched(expected, network.tensors, declared)
    if unfit:
        source = str(path or weights)
        raise ValueError(
            f"{source} does not fit {backbone_name}: {'; '.join(unfit)}. "
            f"Give a file in the layout of {weights}, of this architecture."
        )
    backbone.load_state_dict(loaded)
    return replace(told, unused=(*told.unused, *network.others), layout=network.where)


def _stored(path: Path, backbone_name: str, expected: Mapping[str, Tensor]) -> Network:
    content = read_checkpoint(path)
    try:
        return network_in(content, expected)
    except ValueError as error:
        raise ValueError(f"{path} does not fit {backbone_name}: {error}") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A .safetensors or pickled file as it is, without running what a pickle may hold.

    Args:
        path: holds a dict at the top, with anything below it. Of all classes only those that
            torch takes for data are made, and argparse's bag of options, which training scripts
            keep beside their weights.

    Returns:
        The dict, tensors on the CPU.

    Raises:
        ValueError: naming the file, if it is missing, torn, would run code, or holds no dict.
    """
    if path.suffix == ".safetensors":
        try:
            return dict(load_weights(path)[0])
        except BadInput as error:
            raise ValueError(str(error)) from error
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        rule = "is refused: it is torn, or holds more than tensors, and reading it could run code"
        raise ValueError(f"{path}: {rule}. {_WAY_OUT}") from error
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({_short(error)}). {_WAY_OUT}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds {type(content).__name__}, and not a dict of weights")
    return content


def read_state_dict(path: Path) -> StateDict:
    """Tensors of a file that holds one network and nothing else; see `read_checkpoint`.

    Args:
        path: holds a dict of tensors, at the top or under "state_dict" or "model".

    Returns:
        The tensors on the CPU, a ``module.`` before their names taken off.

    Raises:
        ValueError: naming the file, if it is missing, torn, would run code, or holds no tensors.
    """
    content: Any = read_checkpoint(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    tensors = content if isinstance(content, dict) else {}
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        rule = f"holds no state dict: a dict of tensors, at the top or under one of {_WRAPPERS}"
        raise ValueError(f"{path}: {rule}")
    return {str(name).removeprefix("module."): tensor for name, tensor in tensors.items()}


def _matched(
    expected: Mapping[str, Tensor], stored: Mapping[str, Tensor], declared: BackboneDeclaration
) -> tuple[StateDict, list[str], Reinitialised]:
    """(State dict for the backbone, what does not fit in sentences, what is not as stored)."""
    given = {_renamed(name, expected): tensor for name, tensor in stored.items()}
    loaded, fresh, fitted, missing, other_shape = dict(expected), [], [], [], []
    for name, tensor in expected.items():
        found = given.get(name)
        if found is not None and found.shape == tensor.shape:
            loaded[name] = found
        elif found is not None and (fit := _fit(name, found, tensor)) is not None:
            loaded[name] = fit
            fitted.append(name)
        elif name in declared.fresh:
            fresh.append(name)
        elif found is not None:
            other_shape.append(f"{name} ({_shape(found)}, the model has {_shape(tensor)})")
        elif name.endswith(_COUNTER):
            loaded[name] = torch.tensor(0)  # old files lack it; only momentum None reads it
        else:
            missing.append(name)
    left = [name for name in stored if _renamed(name, expected) not in expected]
    unused = tuple(name for name in left if name.startswith(declared.head))
    unknown = [name for name in left if name not in unused]
    unfit = [
        f"{what} {_listed(names)}"
        for what, names in (
            ("missing", missing),
            ("not in the model", unknown),
            ("of another shape", other_shape),
        )
        if names
    ]
    return loaded, unfit, Reinitialised(tuple(fresh), tuple(fitted), unused)


def _renamed(name: str, expected: Mapping[str, Tensor]) -> str:
    if name in expected:
        return name
    for pattern, ours in (_LAST_NORM, _DENSE):
        if (other := pattern.sub(ours, name)) in expected:
            return other
    return name


def _fit(name: str, given: Tensor, wanted: Tensor) -> Tensor | None:
    """``given`` in the shape of ``wanted`` by the rules at the top; None where none holds."""
    if given.ndim != wanted.ndim:
        return None
    if name in _PATCH_STEMS and given.shape[:2] == wanted.shape[:2]:
        (rows, columns), (height, width) = given.shape[2:], wanted.shape[2:]
        if rows % height or columns % width:
            return None
        split = (height, rows // height, width, columns // width)
        return given.reshape(*given.shape[:2], *split).sum(dim=(3, 5))
    if name == _POSITIONS and given.shape[2] == wanted.shape[2]:
        old, new = (math.isqrt(tensor.shape[1] - 1) for tensor in (given, wanted))
        if old * old != given.shape[1] - 1:
            return None
        from timm.layers.pos_embed import resample_abs_pos_embed

        resized: Tensor = resample_abs_pos_embed(given, [new, new], num_prefix_tokens=1)
        return resized
    return None


def _fetched(weights: str) -> StateDict:
    """The library's own download, from its cache where it was fetched before."""
    library, _, name = weights.partition("/")
    try:
        if library == "torchvision":
            from torchvision import models

            state: StateDict = models.get_weight(name).get_state_dict(
                progress=False, check_hash=True, weights_only=True
            )
            return state
        import timm

        with torch.random.fork_rng(devices=[]):  # timm draws what the file then replaces
            return dict(timm.create_model(name, pretrained=True).state_dict())
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"the ImageNet weights {weights} cannot be fetched ({_short(error)}). Without a "
            f"network, fetch them on another machine and give their file."
        ) from error


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def _short(error: Exception) -> str:
    first_line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"
