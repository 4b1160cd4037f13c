"""Weights on disk as the project writes them: safetensors, whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from study.contents import SAFETENSORS, instead_of
from study.errors import BadInput, Fault

MEMORY_FORMAT: Final = "memory_format"
"""Key of the metadata that this module writes itself: "contiguous" or "channels_last"."""

_NOTES: Final = "ood_study"
MemoryFormat = Literal["contiguous", "channels_last"]
StateDict = dict[str, Tensor]

_BACKBONE: Final = ("backbone.", "mean", "std")  # beginnings of names: all but the head
_TORCH_FORMATS: Final = {
    "contiguous": torch.contiguous_format,
    "channels_last": torch.channels_last,
}


def save_weights(
    weights: nn.Module | Mapping[str, Tensor],
    path: Path,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write weights as safetensors, by rename, so that a reader finds all of them or none.

    Tensors are stored contiguous; the memory format they had is kept in the metadata.

    Args:
        weights: a model or its state dict, on any device.
        path: file to write; its folder must exist.
        metadata: text about the weights, kept in the file's header.
    """
    tensors = weights.state_dict() if isinstance(weights, nn.Module) else weights
    notes = {**(metadata or {}), MEMORY_FORMAT: memory_format_of(tensors)}
    # Cloned: safetensors refuses tensors that share memory, as views of one buffer do.
    stored = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            # One entry: safetensors writes several in another order each time, and equal
            # weights would then be unequal files.
            file.write(save(stored, {_NOTES: json.dumps(notes, sort_keys=True)}))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_weights(path: Path) -> tuple[StateDict, dict[str, str]]:
    """Read what `save_weights` wrote.

    Args:
        path: a safetensors file; one from elsewhere will do, it counts as contiguous.

    Returns:
        (state dict on the CPU, in the memory format it was saved from; metadata).

    Raises:
        BadInput: naming the file, if it is missing, torn or not safetensors.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = _notes(dict(file.metadata() or {}))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise BadInput(_unreadable(path, error)) from error
    layout = metadata.get(MEMORY_FORMAT, "contiguous")
    if layout not in _TORCH_FORMATS:
        rule = f"has an unknown {MEMORY_FORMAT} in its metadata; there are {list(_TORCH_FORMATS)}"
        raise BadInput(Fault(str(path), MEMORY_FORMAT, rule, value=layout))
    if layout == "channels_last":
        weights = {
            name: tensor.contiguous(memory_format=torch.channels_last)
            if tensor.ndim == 4
            else tensor
            for name, tensor in weights.items()
        }
    return weights, metadata


def _notes(header: dict[str, str]) -> dict[str, str]:
    """The notes of a file of ours, or the header of one from elsewhere."""
    if _NOTES not in header:
        return header
    notes: dict[str, str] = json.loads(header[_NOTES])
    return notes


def load_into(
    model: nn.Module, weights: Mapping[str, Tensor], source: str | Path = "weights"
) -> None:
    """Copy ``weights`` into ``model``: all of them, or none.

    The model takes the memory format of the weights, so that what was saved computes the same
    bits again; to compute in another, call ``model.to(memory_format=...)`` afterwards.

    Args:
        model: takes the weights.
        weights: a state dict with exactly the model's keys and shapes.
        source: where they come from, for the message.

    Raises:
        BadInput: naming every key that is missing, unexpected or of another shape. The model is
            then as it was.
    """
    _copy(model, weights, model.state_dict(), source)


def load_backbone(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy backbone and normalisation into ``model``; its other parts stay.

    Args:
        model: takes the weights.
        weights: exactly the keys and shapes of these; a classifier's head (``fc.``) is left out.

    Raises:
        BadInput: naming every key that is missing, unexpected or of another shape. The model is
            then as it was.
    """
    state = model.state_dict()
    part = {name: one for name, one in state.items() if name.startswith(_BACKBONE)}
    kept = {name: one for name, one in weights.items() if not name.startswith("fc.")}
    _copy(model, kept, part, "weights")


def _copy(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    source: str | Path,
) -> None:
    faults = [
        Fault(str(source), name, f"is missing; the model has it as {_shape(expected[name])}")
        for name in expected
        if name not in weights
    ]
    for name, tensor in weights.items():
        if name not in expected:
            faults.append(Fault(str(source), name, f"{_shape(tensor)} is not in the model"))
        elif tensor.shape != expected[name].shape:
            rule = f"is {_shape(tensor)}, the model has {_shape(expected[name])}"
            faults.append(Fault(str(source), name, rule))
    if faults:
        raise BadInput(faults)
    layout = memory_format_of(weights)
    if layout != memory_format_of(expected):
        model.to(memory_format=_TORCH_FORMATS[layout])
    model.load_state_dict(weights, strict=False)  # what is to be there was looked at above


def memory_format_of(weights: Mapping[str, Tensor]) -> MemoryFormat:
    """The memory format of a state dict: channels_last where any 4-D tensor is only that."""
    # A tensor with one channel, or of one pixel, is both at once and tells nothing.
    telling = (t for t in weights.values() if t.ndim == 4 and not t.is_contiguous())
    channels_last = any(t.is_contiguous(memory_format=torch.channels_last) for t in telling)
    return "channels_last" if channels_last else "contiguous"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def _unreadable(path: Path, error: Exception) -> Fault:
    other, first_line = instead_of(SAFETENSORS, path), str(error).partition("\n")[0]
    reason = f"it is {other}" if other else f"{type(error).__name__}: {first_line}"
    return Fault(
        str(path),
        "",
        f"cannot be read as weights ({reason})",
        "Take the file again from where it came.",
    )
