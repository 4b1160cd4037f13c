"""What a study would cost: trials, epochs, images, time from a short probe, disk."""

from __future__ import annotations

import os
import time

import torch

from study.base_models import BaseSpec
from study.checkpoint import WEIGHTS
from study.data.decode import cache_folder
from study.data.roles import StudyData
from study.progress import Progress
from study.recipes.registry import make_recipe
from study.setup import base_spec, some_point
from study.space import substitute
from study.spec import StudySpec
from study.tune.ray_tuner import plan_resources

_PROBE_S = 3.0
_WARM_UP_STEPS = 2
_SCORE_BYTES = 8


def forecast(spec: StudySpec, data: StudyData, progress: Progress) -> str:
    """The resolved spec and the forecast, as text.

    The search's time is an upper bound: it counts every trial with all its epochs, and ASHA will
    stop most of them early. The probe trains a few batches on this machine with the threads of
    one trial; it says nothing of a cluster's other machines.
    """
    train, model = substitute(spec, some_point(spec))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    available = {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
    gpus = None if spec.tune.gpus_per_trial == "auto" else float(spec.tune.gpus_per_trial)
    resources = plan_resources(
        available,
        cpus=spec.tune.cpus_per_trial,
        gpus=gpus,
        max_concurrent=spec.tune.max_concurrent,
    )
    torch.set_num_threads(resources.threads)
    with progress.stage("Forecast: a short probe of the training speed"):
        speed, weights_bytes = _probe(spec.recipe, train, model, data, device)
    id_images = min(train["epoch_images"] or len(data.train.images), len(data.train.images))
    ratio = train.get("outlier_batch_size", 0) / train["batch_size"]
    epoch_images = round(id_images * (1 + ratio))
    num_trials, epochs = spec.tune.num_trials, train["epochs"]
    total = num_trials * epochs * epoch_images
    search_s = total / speed / min(resources.max_concurrent, num_trials)
    disk_mib = _disk(spec, data, epochs, weights_bytes) / 2**20
    lines = [
        spec.dump().rstrip(),
        "",
        "# Forecast (an upper bound; ASHA stops trials early)",
        *(f"#   {note}" for note in data.notes),
        f"#   trials           {num_trials}, {min(resources.max_concurrent, num_trials)} at a time"
        f" with {resources.threads} thread(s) each",
        f"#   epochs a trial   {epochs}",
        f"#   images an epoch  {epoch_images:,} ({id_images:,} ID and the rest outliers)",
        f"#   images in all    {total:,}",
        f"#   speed (probed)   {speed:,.0f} images/s in one trial",
        f"#   base model       {_base_line(spec, data, speed)}",
        f"#   search           at most {_time(search_s)}",
        f"#   disk             at most {disk_mib:,.0f} MiB",
    ]
    return "\n".join(lines)


def _probe(
    recipe_name: str,
    train: dict[str, object],
    model_section: dict[str, object],
    data: StudyData,
    device: torch.device,
) -> tuple[float, int]:
    """Images per second of training steps, and the bytes of the weights."""
    margins = {name: value for name, value in (("m_in", -20.0), ("m_out", -5.0)) if name in train}
    recipe = make_recipe(recipe_name, {**train, **margins})
    model = recipe.build_model(
        str(model_section["backbone"]),
        data.num_classes,
        dropout=float(str(model_section["dropout"])),
        image_size=data.train.images.pixels.shape[1],
        seed=0,
    )
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    loss = recipe.loss().to(device)
    begun, images = time.perf_counter(), 0
    for step, batch in enumerate(recipe.batches(data, seed=0, epoch=1, device=device)):
        if step == _WARM_UP_STEPS:
            begun, images = time.perf_counter(), 0
        loss(model, batch)["loss"].backward()
        images += len(batch.images)
        if step > _WARM_UP_STEPS and time.perf_counter() - begun > _PROBE_S:
            break
    if device.type == "cuda":
        torch.cuda.synchronize()
    speed = images / (time.perf_counter() - begun)
    return speed, sum(tensor.nbytes for tensor in model.state_dict().values())


def _base_line(spec: StudySpec, data: StudyData, speed: float) -> str:
    if not spec.info.needs_base:
        return "none"
    if spec.base is None:
        return f"loaded from {spec.model.init}"
    wanted: BaseSpec = base_spec(spec)
    key = wanted.key(data)
    if (cache_folder() / "bases" / key / WEIGHTS).exists():
        return f"{key}, in the cache"
    per_epoch = spec.base.epoch_images or len(data.train.images)
    seconds = spec.base.epochs * per_epoch / speed
    return f"{key}, to be trained: {spec.base.epochs} epochs, about {_time(seconds)}"


def _disk(spec: StudySpec, data: StudyData, epochs: int, weights_bytes: int) -> int:
    """Kept for every trial: one set of weights and the scores of every epoch."""
    validated = len(data.val_id.images) + sum(len(one) for one in data.ood_val.sets.values())
    scores = validated * len(spec.info.scores) * _SCORE_BYTES * epochs
    return spec.tune.num_trials * (weights_bytes + scores)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
