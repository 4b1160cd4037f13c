"""Base models: classifiers that the classifier recipe trained, found again by their content.

A base is a function of its spec, its data and the code that trains it; the hash of the three is
its name in the cache. A base that was cut off goes on from its last epoch.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from study.data.batches import evaluation_batches
from study.data.images import ImageSet
from study.data.roles import StudyData
from study.losses.margins import EnergyStats
from study.models.names import DEFAULT_NETWORK, Network
from study.models.registry import source_file
from study.models.weights import load_into, load_weights, save_weights
from study.recipes.base import Fitted, Recipe
from study.recipes.registry import make_recipe
from study.records.disk import sweep_temporaries
from study.records.files import WEIGHTS, ValidationScores, write_json
from study.records.frozen import file_hash
from study.seeding import numpy_generator
from study.training.checkpoint import (
    drop_checkpoints,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from study.training.chosen import load_chosen
from study.training.evaluation import evaluate
from study.training.loop import Goal, train
from study.watch.progress import Progress

_CODE = (
    "data/batches.py",
    "data/order.py",
    "losses/classification.py",
    "models/classifier.py",
    "training/optimizers.py",
    "recipes/base.py",
    "recipes/classifier.py",
    "recipes/params.py",
    "training/schedules.py",
    "seeding.py",
    "training/loop.py",
)
_STARTING_CODE = ("bases/initial.py", "models/imagenet.py", "models/names.py", "models/ssl.py")
_PROBING_CODE = ("training/linear.py", "recipes/frozen_features.py")
BASE_RECIPE = "classifier"
_RECORD = "base.json"  # written last: what the base is, and the checksum of its weights
_MEASURED_OUTLIERS = 5_000
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
        init: what its training starts from: random, imagenet, or the path of a weights file.
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
        roles = [data.train.images.fingerprint, data.val_id.images.fingerprint]
        code = code_version(self.backbone)
        parts = [self.backbone, self.dropout, self.train, self.seed, roles, code]
        if self.probes:
            parts.append(_hash_of(_PROBING_CODE))
        if self.network != DEFAULT_NETWORK or self.init != "random":
            file = self.init not in ("random", "imagenet")
            start = file_hash(Path(self.init)) if file else self.init
            parts += [asdict(self.network), start, _hash_of(_STARTING_CODE)]
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class RecordedBase:
    """A base that a run's folder holds a copy of.

    Attributes:
        path: its weights.
        key: its name in the cache when the study began.
        saw_validation: whether it may have seen validation images.
    """

    path: Path
    key: str
    saw_validation: bool


@dataclass(frozen=True, eq=False)
class BaseModel:
    """A trained classifier and what was measured of it.

    Attributes:
        key: its name in the cache, or the fingerprint of the file it came from.
        path: its weights.
        weights: the same, as arrays.
        saw_validation: whether validation images were, or may have been, in its training data.
        trained_now: whether this call trained it (or a part of it).
        metrics: its validation metrics, as of an epoch of a trial.
        scores: its per-image validation scores, one epoch row.
        id_logits: on the validation ID images, (N, K).
        outlier_logits: on up to 5,000 of the training outliers, (M, K); None without outliers.
        fitted: what its scores need beside the weights.
    """

    key: str
    path: Path
    weights: dict[str, NDArray[Any]]
    saw_validation: bool
    trained_now: bool
    metrics: dict[str, float]
    scores: ValidationScores
    id_logits: torch.Tensor
    outlier_logits: torch.Tensor | None
    fitted: Fitted = field(default_factory=dict)

    @lru_cache  # noqa: B019 - a study has few bases, and asks one for every trial
    def energy_stats(self, temperature: float) -> EnergyStats | None:
        """Mean and standard deviation of the energies, nats; None without outliers."""
        if self.outlier_logits is None:
            return None
        id_, outlier = (_energies(x, temperature) for x in (self.id_logits, self.outlier_logits))
        return EnergyStats(*map(float, (id_.mean(), id_.std(), outlier.mean(), outlier.std())))


def _energies(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    return -temperature * torch.logsumexp(logits.double() / temperature, dim=1)


def code_version(backbone: str) -> str:
    """Hash of the source files that decide what training of ``backbone`` computes.

    Another backbone's file is not among them, so that adding one trains no base anew.
    """
    return _hash_of((*_CODE, source_file(backbone)))


def _hash_of(files: Iterable[str | Path]) -> str:
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in (root / name for name in files):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def trained_base(
    spec: BaseSpec,
    data: StudyData,
    *,
    cache: Path,
    device: torch.device,
    progress: Progress,
    scored_by: Recipe,
    start: Mapping[str, NDArray[Any]] | None = None,
) -> BaseModel:
    """The base of ``spec``, from the cache or trained into it.

    Args:
        spec: what to train.
        data: the roles it may see.
        cache: folder of all bases.
        device: where to train.
        progress: is told of epochs.
        scored_by: the study's recipe, whose scores the base is measured with.
        start: the weights that ``spec.init`` names; None for fresh ones.

    Raises:
        TrialFailed: where training diverges.
    """
    key = spec.key(data)
    folder = cache / key
    recipe = make_recipe(BASE_RECIPE, spec.train)
    model = _fresh(recipe, spec, data)
    if start is not None:
        recipe.load_start(model, {name: torch.tensor(one) for name, one in start.items()})
    with _alone(folder, progress):
        sweep_temporaries(folder)
        trained_now = not _is_whole(folder, progress)
        if trained_now:
            _train(recipe, model, spec, data, folder, device, progress)
    weights, _ = load_weights(folder / WEIGHTS)
    load_into(model, weights)
    return _measured(key, folder / WEIGHTS, model, data, device, scored_by, trained_now, False)


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


def loaded_base(
    path: Path,
    spec: BaseSpec,
    weights: Mapping[str, torch.Tensor],
    data: StudyData,
    *,
    device: torch.device,
    scored_by: Recipe,
) -> BaseModel:
    """A base from a file of weights; it may have seen the validation images.

    Raises:
        ValueError: naming every key of ``weights`` that does not fit ``spec``'s backbone.
    """
    model = _fresh(make_recipe(BASE_RECIPE, spec.train), spec, data)
    load_into(model, dict(weights))
    key = hashlib.sha256(path.read_bytes()).hexdigest()[:24]
    return _measured(key, path, model, data, device, scored_by, False, True)


def copied_base(
    recorded: RecordedBase,
    spec: BaseSpec,
    data: StudyData,
    *,
    device: torch.device,
    scored_by: Recipe,
) -> BaseModel:
    """The base of a study that goes on, from its own folder, whatever the cache holds by now."""
    model = _fresh(make_recipe(BASE_RECIPE, spec.train), spec, data)
    load_into(model, load_chosen(recorded.path).model)
    key, saw = recorded.key, recorded.saw_validation
    return _measured(key, recorded.path, model, data, device, scored_by, False, saw)


def _fresh(recipe: Recipe, spec: BaseSpec, data: StudyData) -> nn.Module:
    return recipe.build_model(
        spec.backbone,
        data.num_classes,
        dropout=spec.dropout,
        image_size=data.train.images.pixels.shape[1],
        seed=spec.seed,
        network=spec.network,
    )


def _train(
    recipe: Recipe,
    model: nn.Module,
    spec: BaseSpec,
    data: StudyData,
    folder: Path,
    device: torch.device,
    progress: Progress,
) -> None:
    epochs = recipe.params.epochs
    done = next((e for e in range(epochs, 0, -1) if has_checkpoint(folder, e)), 0)
    start = load_checkpoint(folder, done) if done else None
    how = f"{spec.backbone}, {'linear probe, ' if spec.probes else ''}{epochs} epochs"
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


def _measured(
    key: str,
    path: Path,
    model: nn.Module,
    data: StudyData,
    device: torch.device,
    scored_by: Recipe,
    trained_now: bool,
    saw_validation: bool,
) -> BaseModel:
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    evaluation = evaluate(scored_by, model, data, device)
    outliers = None
    if data.outliers is not None:
        outliers = _logits(model, _sample(data.outliers.images), device)
    return BaseModel(
        key=key,
        path=path,
        weights={name: value.cpu().numpy() for name, value in model.state_dict().items()},
        saw_validation=saw_validation,
        trained_now=trained_now,
        metrics=evaluation.metrics(scored_by.own_score),
        scores=evaluation.as_epoch(1),
        id_logits=_logits(model, data.val_id.images, device),
        outlier_logits=outliers,
        fitted=evaluation.fitted,
    )


def _sample(images: ImageSet) -> ImageSet:
    if len(images) <= _MEASURED_OUTLIERS:
        return images
    chosen = numpy_generator(0, "measured outliers").permutation(len(images))
    return images.take(np.sort(chosen[:_MEASURED_OUTLIERS]))


@torch.inference_mode()
def _logits(model: nn.Module, images: ImageSet, device: torch.device) -> torch.Tensor:
    model.eval()
    batches = evaluation_batches(images, 512, device, channels_last=True)
    return torch.cat([model(batch).cpu() for batch in batches])
