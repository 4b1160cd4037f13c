"""What a study would cost: trials, epochs, images, time from a short probe, disk."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from study.bases.needed import base_spec, bases_of
from study.bases.training import BaseSpec
from study.bases.training_code import code_version
from study.counted import counted
from study.data.images import ImageSet
from study.data.roles import StudyData
from study.device import arithmetic_of, in_precision, precision_on
from study.errors import TrialFailed
from study.recipes.base import TrainingRecipe
from study.recipes.params import TrainParams
from study.recipes.registry import make_recipe
from study.records.cache import SPEEDS, cache_folder
from study.records.cached import read_bytes, write_bytes
from study.records.disk import bytes_text, parse_bytes
from study.records.files import BASE, WEIGHTS
from study.scoring.path import path_text
from study.space.ablation.section import Ablation
from study.space.checks.tune import NAMES
from study.space.points import conditions, flat, grid, substitute
from study.space.search.conditions import existing
from study.space.study_spec import StudySpec
from study.training.assignment import Assignment
from study.training.evaluation import read_images, score_images
from study.training.trial import fresh_model
from study.tune.resources import Resources, machine_of, plan_resources, this_machine
from study.tune.setup import path_plan
from study.watch.progress import Progress
from study.watch.progress_view import roughly

_PROBE_S = 3.0
_WARM_UP_STEPS = 2
_PROBED_VALIDATION = 512
_CHECKPOINTS_OF_A_LIVE_TRIAL = 4  # two states of weights and momentum


@dataclass(frozen=True)
class Speed:
    """What the probe found of one trial.

    Attributes:
        training: images per second.
        validation: images per second, once what scores need is fitted.
        weights_bytes: of the weights, and of what is fitted beside them.
        num_scores: scores of an image.
        fit_s: seconds an epoch that fitting takes.
    """

    training: float
    validation: float
    weights_bytes: int
    num_scores: int
    fit_s: float = 0.0


def forecast(
    spec: StudySpec, data: StudyData, progress: Progress, *, probe_s: float = _PROBE_S
) -> str:
    """The resolved spec and the forecast, as text.

    It counts every trial with all its epochs, at the costliest corner of the space; ASHA will
    stop most trials early. The probe runs alone, on this machine, with the threads of one trial:
    trials side by side share memory bandwidth, and a cluster's machines are others. What it found
    is kept in the cache, by all that it is of.

    Args:
        spec: what is asked for.
        data: its roles.
        progress: where it is told that a probe runs.
        probe_s: seconds that the speed of training is measured for.
    """
    train, model = substitute(spec, _costliest(spec))
    resources = plan_resources(this_machine(), machine_of(spec, None))
    own_threads = torch.get_num_threads()  # a base trains with these
    torch.set_num_threads(resources.threads)
    probe = _Probe(spec, train, model, data, torch.device(resources.device), probe_s)
    entry = probe.kept_at()
    speed = _kept(entry)
    if speed is None:
        with progress.stage("Forecast: a short probe of the speed"):
            speed = probe.speed()
        with suppress(OSError):
            write_bytes(entry, json.dumps(asdict(speed)).encode())
    torch.set_num_threads(own_threads)
    lines = [spec.dump().rstrip(), "", "# Forecast"]
    lines += [f"#   {note}" for note in data.notes]
    lines += [f"#   {name:<18}{text}" for name, text in _rows(spec, data, train, resources, speed)]
    return "\n".join(lines)


def _kept(entry: Path) -> Speed | None:
    """What a probe found before; None where nothing is kept, or nothing that can be read."""
    with suppress(ValueError, TypeError):
        content = read_bytes(entry)
        return None if content is None else Speed(**json.loads(content))
    return None


def _rows(
    spec: StudySpec, data: StudyData, train: dict[str, Any], resources: Resources, speed: Speed
) -> Iterator[tuple[str, str]]:
    """The forecast's lines, as name and text."""
    ablation, confirm = spec.ablate, spec.select.confirm
    id_images = min(train.get("epoch_images") or 10**9, len(data.train.images))
    epoch_images = round(id_images * (1 + _outliers_an_image(train)))
    validated = len(data.val_id.images) + sum(len(one) for one in data.ood_val.sets.values())
    kept = 0  # images kept apart: confirming runs are scored on them, or, without, all trials
    if data.kept is not None:
        kept = len(data.kept.id) + sum(len(one) for one in data.kept.ood.values())
    apart = 0 if confirm else kept
    num_trials, epochs = spec.tune.num_trials, train["epochs"]
    at_a_time = min(resources.max_concurrent, num_trials)
    path = path_plan(spec, data)
    passes = epochs
    if path is not None:  # the base once
        passes += 1 + sum(path.most_passes(epoch, epochs) for epoch in range(1, epochs + 1))
    scored = passes * validated + epochs * apart
    trial_s = epochs * (epoch_images / speed.training + speed.fit_s) + scored / speed.validation
    who = [NAMES[spec.tune.scheduler]] if spec.tune.scheduler in NAMES else []
    who += ["ablate.stop"] if ablation is not None and ablation.stop is not None else []
    early = f", less what {' and '.join(who)} stops early" if who else ""
    yield (
        "trials",
        f"{num_trials}{_arms(ablation)}, {at_a_time} at a time, each on {resources.device} with "
        f"{resources.threads} CPU thread(s)",
    )
    if remark := spec.tune.searcher_remark():
        yield "searcher", remark.partition(": ")[2]
    if spec.tune.first:
        points = [[f"{n} {value}" for n, value in one.items()] for one in spec.tune.first]
        yield "first points", "; ".join(map(", ".join, points))
    yield "epochs a trial", f"{epochs}"
    if spec.tune.scheduler == "asha":
        yield "rungs", _rungs_text(spec, epochs)
    if path is not None:
        share = (passes - epochs) * validated / speed.validation / trial_s
        when = "at every epoch" if path.epochs is None else "at rungs and at the last epoch"
        where = path_text(path.alphas, path.halvings)
        yield "path to the base", f"{where} scored {when}, {share:.0%} of a trial's time at most"
    else:
        yield "path to the base", "none: the trained weights alone are scored"
    yield "images an epoch", f"{epoch_images:,} ({id_images:,} ID, the rest outliers)"
    yield "images in all", f"{num_trials * epochs * epoch_images:,}{early}"
    doing = " in training" if isinstance(spec.params, TrainParams) else ", nothing is trained"
    yield "speed, probed", f"{speed.training:,.0f} images/s{doing}, one trial alone"
    for name, one in bases_of(spec).items():
        device = torch.device(resources.device)
        told = _base_text(spec, one.spec, data, speed.training, device)
        yield name.replace(BASE, "base model").replace("_", " "), told
    yield "search", f"{roughly(num_trials * trial_s / at_a_time)}{early}"
    if ablation is not None and ablation.stop is not None:
        yield "stopping", ablation.stop.text(len(ablation.seeds), spec.select.metric)
    if confirm is not None:
        run_s = (trial_s + epochs * kept / speed.validation) / at_a_time
        each = f"{counted(confirm.top, 'candidate')} x {counted(confirm.seeds, 'fresh seed')}"
        yield "confirmation", f"{roughly(confirm.top * confirm.seeds * run_s)}, {each}"
    disk_mib = _disk(spec, epochs, (passes * validated, kept), at_a_time, speed) / 2**20
    budget = spec.tune.checkpoint_budget
    within = "no limit" if budget is None else bytes_text(parse_bytes(budget))
    yield "disk", f"about {disk_mib:,.0f} MiB, checkpoints within {within}"


def _outliers_an_image(train: dict[str, Any]) -> float:
    """Outliers for each ID image of a batch."""
    outliers: int = train.get("outlier_batch_size", 0)
    return outliers / train["batch_size"] if outliers else 0.0


def _rungs_text(spec: StudySpec, epochs: int) -> str:
    """Where trials are compared, and about how many epochs are trained if one in eta goes on."""
    tune = spec.tune
    rungs = tune.rungs(epochs - 1)
    if not rungs:
        return "none: the grace is all epochs of a trial, and every trial finishes"
    come, trained, before = float(tune.num_trials), 0.0, 0
    for rung in rungs:
        trained, before = trained + come * (rung - before), rung
        come /= tune.reduction_factor
    more = max(0.0, tune.finish - come)  # of those that wait at the last rung
    trained += (come + more) * (epochs - before)
    told = f"at {', '.join(map(str, rungs))} epochs one in {tune.reduction_factor} goes on, the "
    told += f"others wait: about {trained:.0f} epochs in all"
    if tune.finish:
        told += f", {tune.finish} or more to their end (if the best stand above the floor)"
    return told


def _arms(ablation: Ablation | None) -> str:
    if ablation is None:
        return ""
    runs = counted(len(ablation.seeds), "seed")
    if ablation.retune is not None:
        runs = f"({runs} + {ablation.retune.num_trials} tuning trials)"
    return f" ({len(ablation.arms)} arms x {runs})"


def _costliest(spec: StudySpec) -> dict[str, Any]:
    """The corner of the space that costs most: small ID batches have the most outliers.

    Of an ablation the arm with the most images; what its network costs is not looked at.
    """
    if spec.ablate is not None:
        return max(grid(spec), key=lambda point: _images(substitute(spec, point)[0]))
    point = {}
    for name, domain in flat(spec).items():
        numbers = [end for end in domain.ends() if isinstance(end, (int, float))]
        smallest = name == "train.batch_size" or not numbers
        point[name] = domain.ends()[0] if smallest else max(numbers)
    return existing(point, conditions(spec))


def _images(train: dict[str, Any]) -> float:
    """Images of a trial, to compare arms; a training set that is drawn whole is very large."""
    images = train.get("epoch_images") or 10**9
    return float(images * train["epochs"] * (1 + _outliers_an_image(train)))


@dataclass(frozen=True)
class _Probe:
    """One trial that is tried out: its sections of the spec, its data and device, and how long."""

    spec: StudySpec
    train: dict[str, Any]
    model: dict[str, Any]
    data: StudyData
    device: torch.device
    seconds: float

    def kept_at(self) -> Path:
        """Where the cache has what it found: by all that it is of, the code and the machine."""
        sets = [self.data.train.images.fingerprint, self.data.val_id.images.fingerprint]
        parts = [self.spec.recipe, self.train, self.model, sets, self.seconds, platform.node()]
        parts += [arithmetic_of(self.device), code_version(str(self.model["backbone"]))]
        told = json.dumps(parts, sort_keys=True, default=str)
        return cache_folder() / SPEEDS / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.json"

    def speed(self) -> Speed:
        """Try it out."""
        data, device, wanted = self.data, self.device, {"m_in": -20.0, "m_out": -5.0}
        margins = {name: value for name, value in wanted.items() if name in self.train}
        base = base_spec(self.spec)
        train = {**self.train, **margins}
        recipe = make_recipe(self.spec.recipe, train, lambda: base.fresh_model(data))
        trial = Assignment(0, 0, self.model, self.train)
        model = fresh_model(recipe, trial, data.num_classes, data.image_size)
        model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        weights = sum(tensor.nbytes for tensor in model.state_dict().values())
        images = data.val_id.images
        sample = images.take(range(min(_PROBED_VALIDATION, len(images))))
        if not isinstance(recipe, TrainingRecipe) or not recipe.params.trains:
            # A forward of each image is nearly all that there is to do.
            forward = _speed(lambda: _forward(model.eval(), sample, device), sample, device)
            return Speed(forward, forward, weights, len(recipe.scores))
        training = self._training_speed(recipe, model)
        begun, fitted_bytes = time.perf_counter(), 0
        try:
            fitted = recipe.fit(model.eval(), data, device)
        except TrialFailed:  # an untrained model does not bear each detector; it took its time
            fit_s = time.perf_counter() - begun
            validation = _speed(lambda: _forward(model, sample, device), sample, device)
        else:
            fit_s = time.perf_counter() - begun
            fitted_bytes = sum(one.nbytes for one in fitted.values())
            scored = partial(score_images, recipe, model, sample, device, fitted)
            validation = _speed(scored, sample, device)
        return Speed(training, validation, weights + fitted_bytes, len(recipe.scores), fit_s)

    def _training_speed(self, recipe: TrainingRecipe[TrainParams], model: nn.Module) -> float:
        """Images a second, once the first steps are done."""
        device, loss = self.device, recipe.loss().to(self.device)
        given = in_precision(model, precision_on(recipe.params.precision, device))
        begun, images = time.perf_counter(), 0
        for step, batch in enumerate(recipe.batches(self.data, seed=0, epoch=1, device=device)):
            if step == _WARM_UP_STEPS:
                _wait_for(device)
                begun, images = time.perf_counter(), 0
            loss(given, batch)["loss"].backward()
            images += len(batch.images)
            if step > _WARM_UP_STEPS and time.perf_counter() - begun > self.seconds:
                break
        _wait_for(device)
        return images / (time.perf_counter() - begun)


@torch.inference_mode()
def _forward(model: nn.Module, images: ImageSet, device: torch.device) -> None:
    for batch in read_images(images, device):
        model(batch).cpu()


def _speed(over: Callable[[], object], images: ImageSet, device: torch.device) -> float:
    """Images a second of what goes over them; on a GPU the first time loads kernels."""
    for _ in range(2 if device.type == "cuda" else 1):
        begun = time.perf_counter()
        over()
    return len(images) / (time.perf_counter() - begun)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _base_text(
    spec: StudySpec, base: BaseSpec, data: StudyData, speed: float, device: torch.device
) -> str:
    if spec.base is None:
        return "none" if spec.model.init == "random" else f"loaded from {spec.model.init}"
    key = base.key(data, device)
    if (cache_folder() / "bases" / key / WEIGHTS).exists():
        return f"{key}, in the cache"
    epochs, images = base.train["epochs"], len(data.train.images)
    per_epoch = min(base.train["epoch_images"] or images, images)
    probe = base.train.get("fine_tune") == "linear"
    if probe:  # each image once a view; what follows on the features is next to nothing
        views = 1 if base.train["augment"] == "none" else base.train["feature_views"]
        seconds = views * images / speed
    else:
        seconds = epochs * per_epoch / speed
    what = ", a linear probe" if probe else ""
    return f"{key}, to be trained{what}: {counted(epochs, 'epoch')}, {roughly(seconds)}"


def _disk(
    spec: StudySpec, epochs: int, scored: tuple[int, int], at_a_time: int, speed: Speed
) -> int:
    """Each trial keeps one set of weights and the scores of every state; a live one two more.

    ``scored`` counts the images that a trial of the search scores, once for every state, and those
    kept apart, once an epoch of the runs that are scored on them.
    """
    of_trial, kept = scored
    confirm = spec.select.confirm
    confirming = confirm.top * confirm.seeds if confirm else 0
    an_image = 8 * speed.num_scores + 2
    runs = spec.tune.num_trials + confirming
    scored_on_kept = confirming if confirm else runs
    written = runs * (speed.weights_bytes + of_trial * an_image)
    written += scored_on_kept * kept * epochs * an_image
    if spec.tune.scheduler == "asha":  # what a rung stops keeps the state that it would go on from
        written += spec.tune.num_trials * 2 * speed.weights_bytes
    return written + at_a_time * _CHECKPOINTS_OF_A_LIVE_TRIAL * speed.weights_bytes
