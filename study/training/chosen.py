"""The chosen weights of a trial on disk, with what scores and loss need beside them.

One file, so that one rename and one hash cover all: the model's own names, those of the scores
behind ``scorer.``, those of the loss behind ``loss.``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from study.models.weights import load_weights, save_weights

_SCORER, _LOSS = "scorer.", "loss."


@dataclass(frozen=True)
class ChosenWeights:
    """What the checkpoint rule picked.

    Attributes:
        model: state dict of the model.
        fitted: what its scores need beside the model.
        loss: state dict of the loss, for those with parameters of their own.
        notes: text about the weights, in the file's header.
    """

    model: dict[str, Tensor]
    fitted: dict[str, Tensor]
    loss: dict[str, Tensor]
    notes: Mapping[str, str] = field(default_factory=dict)


def save_chosen(path: Path, chosen: ChosenWeights) -> None:
    """Write it as safetensors, by rename."""
    beside = {_SCORER + name: values for name, values in chosen.fitted.items()}
    beside |= {_LOSS + name: values for name, values in chosen.loss.items()}
    save_weights({**chosen.model, **beside}, path, chosen.notes)


def load_chosen(path: Path) -> ChosenWeights:
    """Read what `save_chosen` wrote.

    Raises:
        BadInput: naming the file, if it is missing, torn or not safetensors.
    """
    everything, notes = load_weights(path)
    model: dict[str, Tensor] = {}
    fitted: dict[str, Tensor] = {}
    loss: dict[str, Tensor] = {}
    for name, values in everything.items():
        if name.startswith(_SCORER):
            fitted[name.removeprefix(_SCORER)] = values
        elif name.startswith(_LOSS):
            loss[name.removeprefix(_LOSS)] = values
        else:
            model[name] = values
    return ChosenWeights(model, fitted, loss, notes)
