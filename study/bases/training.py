"""A base's own training: what it is trained from, its name in the cache, its folder there.

A base is a function of its spec, its data, the code that trains it and the arithmetic of the
device; the hash of the four is its name in the cache. A base that was cut off goes on from its
last epoch, a damaged one is trained anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from study.bases.training_code import code_version
from study.counted import counted
from study.data.roles import StudyData
from study.device import arithmetic_of, precision_on
from study.errors import BadInput, Fault
from study.models.names import DEFAULT_NETWORK, Network
from study.models.weights import load_into, load_weights, save_weights
from study.recipes.classifier import ClassifierRecipe
from study.recipes.classifier_params import ClassifierParams
from study.records.cache import LOCK, alone, note_use, tidy
from study.records.disk import sweep_temporaries, take_away
from study.records.files import WEIGHTS, write_json
from study.records.frozen import file_hash
from study.training.checkpoint import (
    drop_checkpoints,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from study.training.loop import Goal, TrainingState, train
from study.watch.progress import Progress

BASE_RECIPE = ClassifierParams.name
_RECORD = "base.json"  # written last: what the base is, and the checksum of its weights
_GOAL = Goal("val/id_accuracy", None)


@dataclass(frozen=True)
class BaseSpec:
    """What a base is trained from.

    Attributes:
        backbone: name in the registry.
        dropout: of the backbone.
        train: the classifier recipe's parameters, all of them.
        seed: names its random streams.
        network: its stem and its normalisation.
        init: what its training starts from: random, imagenet, or the path of a weights file; of a
            base that is a file's, the file, and ``train`` is empty.
    """

    backbone: str
    dropout: float
    train: dict[str, Any]
    seed: int
    network: Network = DEFAULT_NETWORK
    init: str = "random"

    @property
    def probes(self) -> bool:
        """Whether the last layer alone is trained."""
        return self.train.get("fine_tune") == "linear"

    def key(self, data: StudyData, device: torch.device) -> str:
        """Name in the cache: a hash of this spec, the ID data, the training code and the device.

        Args:
            data: the roles that it sees.
            device: where it trains; threads of a CPU count, since they change the bits.
        """
        starts = self.network != DEFAULT_NETWORK or self.init != "random"
        file = self.init not in ("random", "imagenet")
        asked = self.train.get("precision", "auto")
        parts = [
            self.backbone,
            self.dropout,
            {**self.train, "precision": precision_on(asked, device)},
            self.seed,
            asdict(self.network),
            file_hash(Path(self.init)) if file else self.init,
            [data.train.images.fingerprint, data.val_id.images.fingerprint],
            code_version(self.backbone, probes=self.probes, starts=starts),
            arithmetic_of(device),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]

    def recipe(self) -> ClassifierRecipe[ClassifierParams]:
        """What trains it."""
        return ClassifierRecipe(ClassifierParams.model_validate(self.train))

    def fresh_model(self, data: StudyData) -> nn.Module:
        """Its network for ``data``, with fresh weights."""
        return self.recipe().build_model(
            self.backbone,
            data.num_classes,
            dropout=self.dropout,
            image_size=data.image_size,
            seed=self.seed,
            network=self.network,
        )


@dataclass(frozen=True, eq=False)
class FoundBase:
    """A base with its weights, not measured yet.

    Attributes:
        key: its name in the cache, or the fingerprint of the file it came from.
        path: its weights.
        model: with these weights.
        saw_validation: whether validation images were, or may have been, in its training data.
        trained_now: whether this call trained it (or a part of it).
        origin: of one from a file: ``file`` and its ``sha256``, ``layout`` (keys and prefix that
            lead to the network), ``head`` (its name there), ``copies`` and ``unused`` (what else
            the file holds); None for one that was trained here.
    """

    key: str
    path: Path
    model: nn.Module
    saw_validation: bool
    trained_now: bool = False
    origin: Mapping[str, Any] | None = None


def trained_base(
    spec: BaseSpec,
    data: StudyData,
    *,
    cache: Path,
    device: torch.device,
    progress: Progress,
    start: Mapping[str, NDArray[Any]] | None = None,
) -> FoundBase:
    """The base of ``spec``, from the cache or trained into it.

    Args:
        spec: what to train.
        data: the roles it may see.
        cache: folder of all bases.
        device: where to train.
        progress: is told of epochs.
        start: the weights that ``spec.init`` names; None for fresh ones.

    Raises:
        TrialFailed: where training diverges.
    """
    key = spec.key(data, device)
    folder = cache / key
    model = spec.fresh_model(data)
    if start is not None:
        given = {name: torch.tensor(one) for name, one in start.items()}
        spec.recipe().load_start(model, given)
    waits = f"waiting for another study that trains the base {folder.name}"
    with _alone(folder, waits):
        sweep_temporaries(folder)
        trained_now = not _is_whole(folder, progress)
        if trained_now:
            _train(model, spec, data, folder, device, progress)
        load_into(model, load_weights(folder / WEIGHTS)[0])
        note_use(folder / _RECORD)
    tidy(folder)
    return FoundBase(key, folder / WEIGHTS, model, False, trained_now)


@contextmanager
def _alone(folder: Path, waits: str) -> Iterator[None]:
    """Hold the base's folder: of two studies that need it, one trains and the other waits.

    Raises:
        BadInput: where it cannot be made.
    """
    try:
        with alone(folder / LOCK, waits):
            yield
    except (FileExistsError, NotADirectoryError) as error:
        rule = f"cannot be made ({error.strerror})"
        way_out = "Set OOD_STUDY_CACHE to a folder that can be written."
        raise BadInput(Fault(str(folder), "", rule, way_out)) from error


def _is_whole(folder: Path, progress: Progress) -> bool:
    """Whether the cache holds the base as it was trained; what is not so is taken away."""
    record, weights = folder / _RECORD, folder / WEIGHTS
    if not (record.exists() or weights.exists()):
        return False
    try:
        told = json.loads(record.read_text())
        if told["key"] == folder.name and told["weights_sha256"] == file_hash(weights) is not None:
            return True
    except FileNotFoundError:  # a kill came between the two, or somebody removed one
        pass
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        progress.warning(f"{record} cannot be read as what it was written as")
    progress.warning(f"{weights} does not match its record; the base is trained again")
    for path in (record, weights):
        take_away(path)
    return False


def _cut_off(folder: Path, epochs: int, progress: Progress) -> TrainingState | None:
    """Where a training that was cut off goes on; damaged states are dropped, and told."""
    for epoch in range(epochs, 0, -1):
        if has_checkpoint(folder, epoch):
            try:
                return load_checkpoint(folder, epoch)
            except (BadInput, OSError) as error:
                progress.warning(f"{error} The base goes on from an earlier epoch.")
    return None


def _train(
    model: nn.Module,
    spec: BaseSpec,
    data: StudyData,
    folder: Path,
    device: torch.device,
    progress: Progress,
) -> None:
    recipe = spec.recipe()
    epochs = recipe.params.epochs
    start = _cut_off(folder, epochs, progress)
    done = start.epoch if start else 0
    how = f"{spec.backbone}, {'linear probe, ' if spec.probes else ''}{counted(epochs, 'epoch')}"
    if spec.init != "random":
        how += f" from {Path(spec.init).name}"
    with progress.stage(f"Base model: {how}", total=epochs) as stage:
        stage.advance(done)
        results = train(
            recipe, model, data, seed=spec.seed, goal=_GOAL, device=device, start=start
        )
        for result in results:
            save_checkpoint(folder, result.state)
            accuracy, speed = result.metrics["val/id_accuracy"], result.metrics["images_per_s"]
            stage.advance(1, f"validation accuracy {accuracy:.3f}, {speed:.0f} images/s")
    state = load_checkpoint(folder, epochs).model
    save_weights(state, folder / WEIGHTS, {"recipe": BASE_RECIPE, "backbone": spec.backbone})
    told = {"key": folder.name, **asdict(spec), "data": data.fingerprint}
    write_json(folder / _RECORD, {**told, "weights_sha256": file_hash(folder / WEIGHTS)})
    drop_checkpoints(folder)
