"""Pretrained weights that trials start from: brought before any trial, and kept in the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.errors import BadInput, Fault
from study.models.names import DEFAULT_NETWORK, Network
from study.models.pretrained import Reinitialised, load_pretrained
from study.models.registry import build_classifier
from study.models.weights import save_weights
from study.records.files import RunFolder
from study.records.frozen import file_hash
from study.training.chosen import load_chosen
from study.training.starting import Arrays, tensors

_FOLDER = "initial"


@dataclass(frozen=True, eq=False)
class Initial:
    """Weights of one backbone, without a head.

    Attributes:
        backbone: its name.
        source: where they came from.
        weights: those of the backbone, and the normalisation, as arrays by a classifier's names.
        loaded: what was not as it stood there.
    """

    backbone: str
    source: str
    weights: Arrays
    loaded: Reinitialised

    def told(self) -> dict[str, Any]:
        """What the manifest says of it, but for the fingerprint."""
        return {
            "source": self.source,
            "reinitialised": list(self.loaded.tensors),
            "fitted": list(self.loaded.fitted),
            "unused": list(self.loaded.unused),
            "layout": self.loaded.layout,
            "copies": list(self.loaded.copies),
        }


def bring_initial(
    backbones: Sequence[str],
    image_size: int,
    *,
    dropout: float,
    file: Path | None,
    network: Network = DEFAULT_NETWORK,
    key: str | None = None,
) -> list[Initial]:
    """Pretrained weights of each backbone, from a file or from its library.

    Tensors that keep a fresh initialisation are those of seed 0: all trials share them.

    Args:
        backbones: names.
        image_size: side of the images, pixels.
        dropout: where the backbone has it.
        file: in any layout of `study.models.checkpoints`; its head is left out. None lets the
            library download its own.
        network: stem, and the normalisation that the weights were trained with; a file of the
            project's brings its own.
        key: which network of the file; None finds it.

    Raises:
        ValueError: naming the backbone, where it has no weights or they cannot be fetched.
        BadInput: where a file cannot be read or does not fit.
    """
    found = []
    for name in backbones:
        model = build_classifier(
            name, 2, dropout=dropout, image_size=image_size, seed=0, network=network
        )
        told = load_pretrained(name, model, file, key)
        state = model.state_dict()
        kept = {key: state[key].numpy() for key in state if not key.startswith("fc.")}
        source = str(file) if file else "ImageNet weights of the backbone's library"
        found.append(Initial(name, source, kept, told))
    return found


def keep_initial(run: RunFolder, initial: Sequence[Initial]) -> dict[str, Any]:
    """Write the weights into the run's folder.

    Returns:
        What the manifest says: backbone -> source, tensors, fingerprint of the file.
    """
    folder = run.checkpoints / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    told = {}
    for one in initial:
        path = folder / f"{one.backbone}.safetensors"
        save_weights(tensors(one.weights), path, {"source": one.source})
        told[one.backbone] = {**one.told(), "fingerprint": file_hash(path)}
    return told


def kept_initial(run: RunFolder, told: dict[str, Any]) -> list[Initial]:
    """The weights that the run's folder holds.

    Raises:
        BadInput: where a file is not what the manifest tells of.
    """
    found = []
    for backbone, record in told.items():
        path = run.checkpoints / _FOLDER / f"{backbone}.safetensors"
        if file_hash(path) != record["fingerprint"]:
            rule = "does not match its fingerprint in manifest.json"
            raise BadInput(Fault(str(path), "", rule, "Restore it from a copy."))
        weights = {name: values.numpy() for name, values in load_chosen(path).model.items()}
        loaded = Reinitialised(
            tuple(record["reinitialised"]),
            tuple(record["fitted"]),
            tuple(record["unused"]),
            record.get("layout", ""),
            tuple(record.get("copies", ())),
        )
        found.append(Initial(backbone, record["source"], weights, loaded))
    return found
