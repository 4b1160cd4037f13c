"""Pretrained weights for a backbone: from a file in any layout, or from the backbone's library.

`study.models.checkpoints` finds the network in a file. Where a backbone's stem was changed for
small images, a patch stem's kernel is summed over the pixels that fall on one: the small network
then computes what the native one computes on the image enlarged so many times, pixel by pixel. A
ViT's positional embedding is resized by timm's bicubic rule. A 7x7 stem that became 3x3 (ResNet,
DenseNet) has no such equal and keeps its fresh weights. VGG's poolings hold no weights.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import torch
from torch import Tensor, nn

from study.errors import BadInput, Fault
from study.models.checkpoint_files import read_checkpoint
from study.models.checkpoints import StoredNetwork, network_in
from study.models.classifier import Backbone
from study.models.names import DECLARED, BackboneDeclaration, declaration
from study.models.registry import build_backbone
from study.models.weights import StateDict

_PATCH_STEMS: Final = ("stem.0.weight", "patch_embed.proj.weight")
_POSITIONS: Final = "pos_embed"
_COUNTER: Final = "num_batches_tracked"
# What profilers and averaging leave among the weights; no network reads it.
_COUNTED: Final = re.compile(r"(^|\.)(total_ops|total_params|n_averaged|num_batches_tracked)$")
_MOST_NAMES: Final = 6
_OWN: Final = ("mean", "std")  # the normalisation, in files of the project's own


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
        copies: where else in the file networks of the same names are, which were not taken.
    """

    tensors: tuple[str, ...] = ()
    fitted: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    layout: str = ""
    copies: tuple[str, ...] = ()


class DoesNotFit(BadInput):
    """Weights of another network than the one that is wanted.

    Attributes:
        listing: every tensor that is missing, unexpected, of another shape or not finite, a line
            each.
    """

    def __init__(self, fault: Fault, listing: str = "") -> None:
        super().__init__(fault)
        self.listing = listing


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A backbone's weights from elsewhere.

    Attributes:
        backbone: all of the backbone's tensors, by its own names.
        normalisation: ``mean`` and ``std`` where the file has them, as the project's own do.
        heads: linear layers on the features as they are here, by name: weight and bias. None
            where the features are not those that the file's head was trained on.
        loaded: what was not as it stood there.
    """

    backbone: StateDict
    normalisation: StateDict
    heads: dict[str, tuple[Tensor, Tensor | None]]
    loaded: Reinitialised

    def head(self, num_classes: int) -> tuple[str, Tensor, Tensor] | None:
        """Name, weight and bias of the head for so many classes; None where there is none."""
        for name, (weight, bias) in self.heads.items():
            if len(weight) == num_classes:
                return name, weight, torch.zeros(num_classes) if bias is None else bias
        return None


def load_pretrained(
    backbone_name: str, model: nn.Module, path: Path | None, key: str | None = None
) -> Reinitialised:
    """Copy pretrained weights into a backbone: all that it has, or an error and none.

    Args:
        backbone_name: its name in `study.models.names`.
        model: the backbone, freshly built, or what holds it as ``backbone``; with a ``mean`` and
            a ``std`` it takes the file's, where that has them.
        path: see `pretrained`.
        key: see `pretrained`.

    Returns:
        What was re-initialised, fitted in shape, and left unused.

    Raises:
        ValueError: as `pretrained`.
        BadInput: as `pretrained`. The model is then as it was.
    """
    found = pretrained(backbone_name, model, path, key)
    getattr(model, "backbone", model).load_state_dict(found.backbone)
    if found.normalisation and hasattr(model, "mean"):
        model.load_state_dict(found.normalisation, strict=False)
    return found.loaded


def pretrained(
    backbone_name: str, model: nn.Module, path: Path | None, key: str | None = None
) -> Pretrained:
    """Weights for a backbone, none of them in it yet.

    Args:
        backbone_name: its name in `study.models.names`.
        model: the backbone, freshly built, or what holds it as ``backbone``.
        path: a file in any layout of `study.models.checkpoints`, safetensors or pickled (read
            without running what a pickle may hold); None to let the library download its own
            ImageNet weights into its own cache.
        key: which network of the file, see `study.models.checkpoints.network_in`.

    Raises:
        ValueError: if the backbone has no ImageNet weights, or they cannot be fetched.
        BadInput: if the file cannot be read, holds several networks and none is named, or is of
            another network (`DoesNotFit`, naming the tensors).
    """
    declared = declaration(backbone_name)
    backbone = getattr(model, "backbone", model)
    expected: StateDict = backbone.state_dict()
    if path is None and declared.pretrained is None:
        raise ValueError(f"{backbone_name} has no ImageNet weights; start it from scratch")
    place = str(path or declared.pretrained)
    content = read_checkpoint(path) if path else _fetched(place)
    width = cast(Backbone, backbone).num_features
    try:
        network = network_in(content, expected, key=key, num_features=width)
    except ValueError as error:
        rule = f"does not fit {backbone_name}: {error}"
        raise DoesNotFit(Fault(place, "", rule, _layout_of(declared))) from error
    loaded, unfit, told = _matched(expected, network, declared)
    if any(unfit.values()):
        parts = "; ".join(f"{what} {_listed(names)}" for what, names in unfit.items() if names)
        rule = f"does not fit {backbone_name}: {parts}"
        way_out = _other_that_fits(network, declared) or _layout_of(declared)
        listing = "".join(f"{what} {one}\n" for what, names in unfit.items() for one in names)
        raise DoesNotFit(Fault(place, "", rule, way_out), listing)
    return Pretrained(
        loaded,
        {name: network.beside[name] for name in _OWN if _is_own(network)},
        network.heads if _same_features(backbone, declared, network, told) else {},
        told,
    )


def _is_own(network: StoredNetwork) -> bool:
    """Whether the file is of the project: its classifiers keep their normalisation."""
    return all(name in network.beside and network.beside[name].ndim == 4 for name in _OWN)


def _same_features(
    backbone: nn.Module, declared: BackboneDeclaration, network: StoredNetwork, told: Reinitialised
) -> bool:
    """Whether the file's head sees the features that it was trained on.

    A stem that is fresh or was brought to another shape makes others, and so do the poolings that
    a network of several strides and no other stem, VGG, leaves out for small images.
    """
    changed = bool(told.tensors or told.fitted)
    stems = (*declared.fresh, *_PATCH_STEMS)
    pooled = len(declared.strides) > 1 and not network.tensors.keys() & set(stems)
    native = cast(Backbone, backbone).stride == max(declared.strides)
    return not changed and (native or not pooled or _is_own(network))


def _matched(
    expected: Mapping[str, Tensor], network: StoredNetwork, declared: BackboneDeclaration
) -> tuple[StateDict, dict[str, list[str]], Reinitialised]:
    """(State dict for the backbone, what does not fit by its kind, what is not as stored)."""
    given = network.tensors
    loaded, fresh, fitted = dict(expected), [], []
    missing, other_shape, no_number = [], [], []
    for name, tensor in expected.items():
        found = given.get(name)
        if found is not None and found.is_floating_point() != tensor.is_floating_point():
            other_shape.append(f"{name} (holds {found.dtype}, the model has {tensor.dtype})")
        elif found is not None and not torch.isfinite(found).all():
            no_number.append(name)
        elif found is not None and found.shape == tensor.shape:
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
    no_number += [
        name
        for name, head in network.heads.items()
        if not all(torch.isfinite(part).all() for part in head if part is not None)
    ]
    left = [name for name in given if name not in expected and not _COUNTED.search(name)]
    inside = {_stem(name) for name in expected}
    unknown = [name for name in left if _stem(name) in inside]
    unused = tuple(name for name in left if name not in unknown)
    unfit = {
        "missing": missing,
        "not in the model": unknown,
        "of another shape": other_shape,
        "not finite (NaN or infinite):": no_number,
    }
    own = _OWN if _is_own(network) else ()
    others = tuple(name for name in network.others if name not in own)
    told = Reinitialised(
        tuple(fresh), tuple(fitted), (*unused, *others), network.where, network.copies
    )
    return loaded, unfit, told


def _stem(name: str) -> str:
    """The part of a network that a tensor is of, without its number: ``layer`` of ``layer4.0``."""
    return name.partition(".")[0].rstrip("0123456789")


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
        first_line = str(error).partition("\n")[0]
        raise ValueError(
            f"the ImageNet weights {weights} cannot be fetched ({type(error).__name__}: "
            f"{first_line}). Without a network, fetch them on another machine and give their file."
        ) from error


def _other_that_fits(network: StoredNetwork, declared: BackboneDeclaration) -> str:
    """A backbone of the same file that the weights are of, as a way out; empty without one."""
    for name, other in DECLARED.items():
        if other.file != declared.file or other == declared:
            continue
        with torch.device("meta"):  # names and shapes alone
            expected = build_backbone(name, seed=0).state_dict()
        if not any(_matched(expected, network, other)[1].values()):
            return f"They are of {name}: set model.backbone: {name}."
    return ""


def _layout_of(declared: BackboneDeclaration) -> str:
    library = f" in the layout of {declared.pretrained}," if declared.pretrained else ""
    return f"Give a file{library} of this architecture, or choose the backbone that it is of."


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
