"""A base's own training: what it is trained from, its name in the cache, its folder there.

A base is a function of its spec, its data and the code that trains it; the hash of the three is
its name in the cache. A base that was cut off goes on from its last epoch.
"""

from __future__ import annotations

import fcntl
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
from study.models.names import DEFAULT_NETWORK, Network
from study.models.weights import load_into, load_weights, save_weights
from study.recipes.classifier import ClassifierRecipe
from study.recipes.classifier_params import ClassifierParams
from study.records.disk import sweep_temporaries
from study.records.files import WEIGHTS, write_json
from study.records.frozen import file_hash
from study.training.checkpoint import (
    drop_checkpoints,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from study.training.loop import Goal, train
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

    def key(self, data: StudyData) -> str:
        """Name in the cache: a hash of this spec, the ID data and the training code."""
        starts = self.network != DEFAULT_NETWORK or self.init != "random"
        file = self.init not in ("random", "imagenet")
        parts = [
            self.backbone,
            self.dropout,
            self.train,
            self.seed,
            asdict(self.network),
            file_hash(Path(self.init)) if file else self.init,
            [data.train.images.fingerprint, data.val_id.images.fingerprint],
            code_version(self.backbone, probes=self.probes, starts=starts),
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
    key = spec.key(data)
    folder = cache / key
    model = spec.fresh_model(data)
    if start is not None:
        given = {name: torch.tensor(one) for name, one in start.items()}
        spec.recipe().load_start(model, given)
    with _alone(folder, progress):
        sweep_temporaries(folder)
        trained_now = not _is_whole(folder, progress)
        if trained_now:
            _train(model, spec, data, folder, device, progress)
    load_into(model, load_weights(folder / WEIGHTS)[0])
    return FoundBase(key, folder / WEIGHTS, model, False, trained_now)


@contextmanager
def _alone(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the base's folder: of two studies that need it, one trains and the other waits."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            progress.note(f"waiting for another study that trains the base {folder.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_whole(folder: Path, progress: Progress) -> bool:
    """Whether the cache holds the base as it was trained."""
    record = folder / _RECORD
    if not record.exists():
        return False
    if json.loads(record.read_text())["weights_sha256"] == file_hash(folder / WEIGHTS):
        return True
    progress.warning(f"{folder / WEIGHTS} does not match its record; the base is trained again")
    return False


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
    done = next((e for e in range(epochs, 0, -1) if has_checkpoint(folder, e)), 0)
    start = load_checkpoint(folder, done) if done else None
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
    told = {**asdict(spec), "data": data.fingerprint}
    write_json(folder / _RECORD, {**told, "weights_sha256": file_hash(folder / WEIGHTS)})
    drop_checkpoints(folder)
