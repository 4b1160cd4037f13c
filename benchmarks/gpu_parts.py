"""What each part of `gpu.py` measures, and how large everything is.

A part imports what it needs inside: one without its packages must not cost the others.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, Any]
LIMITS_S = {
    "steps/resnet20": 55,
    "steps/wrn40-2": 45,
    "steps/resnet18": 45,
    "steps/nordf": 45,
    "bits": 40,
    "memory": 30,
    "together": 60,
    "numerics": 80,
    "study": 200,
}
"""Seconds of each part; what is over is stopped, and what it had told stays."""
BACKBONES = {"resnet20": "resnet20", "wrn40-2": "wrn_40_2", "resnet18": "resnet18"}
T_975 = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776}  # Student's t by its degrees of freedom


@dataclass(frozen=True)
class Sizes:
    """How large everything is: as a study is, or to see whether it runs."""

    device: str
    image: int = 32
    train: int = 45_000
    outliers: int = 50_000
    batch: int = 128
    outlier_batch: int = 256
    steps: int = 150
    rounds: int = 3
    seeds: int = 5
    epochs: int = 6
    epoch_images: int = 12_800
    validation: int = 2_000
    workers: int = 8

    @property
    def on(self) -> torch.device:
        """The device; of a rehearsal the CPU, which runs a graph's program as it is."""
        return torch.device(self.device)


TINY = Sizes("cpu", 8, 64, 64, 16, 16, 2, 1, 2, 1, 32, 40, 0)


def row_of(name: str, values: Sequence[float], unit: str = "", what: str = "") -> Row:
    """The median of some rounds; ``what`` for a name that is no target's."""
    spread = [min(values), max(values)] if len(values) > 1 else None
    told = {"what": what, "target": ""} if what else {}
    measured = statistics.median(values)
    return {"name": name, **told, "measured": measured, "unit": unit, "n": len(values),
            "spread": spread}  # fmt: skip


def measured(part: str, sizes: Sizes) -> Iterator[Row]:
    """The rows of a part."""
    kind, _, which = part.partition("/")
    if kind == "steps":
        yield from steps(which, sizes)
    else:
        parts = {"bits": bits, "memory": memory, "together": together, "numerics": numerics}
        yield from (parts | {"study": study})[kind](sizes)


def pictures(name: str, number: int, size: int, *, seed: int, classes: int = 0) -> Any:
    """Gratings in noise, whose angle tells the class; without classes finer ones, most of them."""
    from study.data.images import ImageSet

    generator = np.random.default_rng([seed, len(name)])
    labels = np.arange(number) % classes if classes else np.full(number, -1)
    turns = labels / classes if classes else generator.uniform(0, 1, number)
    frequency = generator.uniform(0.8, 1.2, number) * (0.9 if classes else 1.25)
    phase = generator.uniform(0, 2 * math.pi, number)
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    pixels = np.empty((number, size, size, 3), np.uint8)
    # Drawn once and shifted: it takes most of the time, and the parts' minutes are few.
    noise = 60 * generator.standard_normal((min(number, 4096), size, size, 3), np.float32)
    for start in range(0, number, 4096):
        part = slice(start, start + 4096)
        angle, rate, start_at = (
            one[part, None, None].astype(np.float32) for one in (math.pi * turns, frequency, phase)
        )
        across = np.cos(angle) * columns + np.sin(angle) * rows
        wave = np.sin(rate * across + start_at)
        shifted = np.roll(noise, generator.integers(0, size, 3), axis=(0, 1, 2))[: len(wave)]
        pixels[part] = np.clip(128 + 40 * wave[..., None] + shifted, 0, 255)
    return ImageSet.make(name, pixels, labels=labels)


def data_of(sizes: Sizes, *, train: int | None = None) -> Any:
    """A study's roles, made up."""
    from study.data.roles import OODValidation, Outliers, StudyData, TrainID, ValidationID

    def one(name: str, number: int, seed: int, classes: int = 0) -> Any:
        return pictures(name, number, sizes.image, seed=seed, classes=classes)

    return StudyData(
        TrainID(one("train", train or sizes.train, 0, 10)),
        ValidationID(one("val", sizes.validation, 1, 10)),
        Outliers(one("outliers", sizes.outliers, 2)),
        OODValidation({"ood": one("ood", sizes.validation, 3)}),
        num_classes=10,
        demo=False,
    )


def section(sizes: Sizes, epochs: int, images: int, **changes: Any) -> dict[str, Any]:
    """A section ``train`` of energy fine-tuning; a rehearsal takes the paths of a GPU."""
    on_gpu = {} if sizes.device == "cuda" else {"precision": "bf16", "graph": True}
    return {
        "epochs": epochs,
        "epoch_images": images,
        "batch_size": sizes.batch,
        "outlier_batch_size": sizes.outlier_batch,
        "lr": 0.05,
        "m_in": -8.0,
        "m_out": -4.0,
        **on_gpu,
        **changes,
    }


def nordf_section(sizes: Sizes, epochs: int, images: int) -> dict[str, Any]:
    """NORD-F without a perceptual network."""
    energy = {"outlier_batch_size", "m_in", "m_out"}
    given = section(sizes, epochs, images, perceptual_network=None, lr=1e-3)
    small = {} if sizes.device == "cuda" else {"width": 8, "branch_channels": 8, "bank_images": 40}
    return {name: one for name, one in given.items() if name not in energy} | small


def trained(
    sizes: Sizes, name: str, train_section: dict[str, Any], backbone: str, data: Any, seed: int = 0
) -> Iterator[Any]:
    """The epochs of a training, by the project's own loop."""
    from study.recipes.registry import make_recipe
    from study.training.loop import Goal, train

    recipe = make_recipe(name, train_section)
    model = recipe.build_model(backbone, 10, dropout=0.0, image_size=sizes.image, seed=seed)
    goal = Goal("val/fpr95", None)
    return train(recipe, model, data, seed=seed, goal=goal, device=sizes.on)


def steps(which: str, sizes: Sizes) -> Iterator[Row]:
    """Images a second in a trial, over the resident step's and the plain loop's."""
    recipe, backbone = ("nordf", "resnet20") if which == "nordf" else ("energy", BACKBONES[which])
    data, images = data_of(sizes), sizes.steps * sizes.batch
    make = nordf_section if which == "nordf" else section
    given = make(sizes, sizes.rounds + 1, images)
    told = [one.metrics["images_per_s"] for one in trained(sizes, recipe, given, backbone, data)]
    ours = told[1:]  # the first has loaded kernels and captured the step
    yield row_of(f"gpu/speed/{which}", ours, "images/s", f"{which}, a trial's training")
    most = resident(sizes, recipe, given, backbone, data)
    yield row_of(
        f"gpu/resident/{which}", most, "images/s", f"{which}, one resident batch, graphed"
    )
    yield row_of(f"gpu/step/{which}", [one / statistics.median(most) for one in ours])
    plain = {**given, "graph": False}
    no_graph = [one.metrics["images_per_s"]
                for one in trained(sizes, recipe, plain, backbone, data)][1:]  # fmt: skip
    gain = [one / statistics.median(no_graph) for one in ours]
    yield row_of(f"gpu/graph/{which}", gain, what=f"{which}, with a graph over without")
    if which == "resnet20":
        loop = loader_loop(sizes, data)
        yield row_of("gpu/speed/loader", loop, "images/s", "the plain DataLoader loop, ResNet-20")
        yield row_of("gpu/loader", [one / statistics.median(loop) for one in ours])


def resident(
    sizes: Sizes, name: str, given: dict[str, Any], backbone: str, data: Any
) -> list[float]:
    """Images a second of the same graphed bf16 step, where nothing else is to be done."""
    from study.device import Program, in_precision, rate_tensor, step_settings
    from study.recipes.base import Moment, TrainingRecipe
    from study.recipes.registry import make_recipe
    from study.training.optimizers import make_optimizer
    from study.training.steps import TrainingStep

    device = sizes.on
    recipe = make_recipe(name, given)
    assert isinstance(recipe, TrainingRecipe)
    model = recipe.build_model(backbone, 10, dropout=0.0, image_size=sizes.image, seed=0)
    model.to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    loss = recipe.loss().to(device)
    loss.at(Moment(1, 0, sizes.steps, 1))
    kind = recipe.params.optimizer
    optimizer = make_optimizer(
        kind, [{"params": [*model.parameters(), *loss.parameters()]}], lr=1e-3, momentum=0.9,
        nesterov=recipe.params.nesterov, weight_decay=5e-4,
        **step_settings(kind, device, captured=True),
    )  # fmt: skip
    optimizer.param_groups[0]["lr"] = rate_tensor(1e-3, device)
    batch = next(recipe.batches(data, seed=0, epoch=1, device=device))
    step = TrainingStep(
        in_precision(model, "bf16"), loss, optimizer, logs_gradients=recipe.logs_gradients
    )
    program = Program(lambda: step(batch), device)
    speeds = []
    for number in range(sizes.rounds + 1):
        wait(device)
        begun = time.perf_counter()
        for _ in range(sizes.steps):
            program()
        wait(device)
        if number:  # the first has the warm-up and the capture
            speeds.append(sizes.steps * len(batch.images) / (time.perf_counter() - begun))
    return speeds


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


class Augmented(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """One image at a time: to floats, a random crop, perhaps mirrored."""

    def __init__(self, images: Any) -> None:
        """Take an ``ImageSet``."""
        self.pixels, self.labels = images.pixels, images.labels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        size = self.pixels.shape[1]
        image = torch.from_numpy(np.array(self.pixels[at])).permute(2, 0, 1).float() / 255
        padded = functional.pad(image, (4, 4, 4, 4))
        top, left = torch.randint(0, 9, (2,)).tolist()
        crop = padded[:, top : top + size, left : left + size]
        return (crop.flip(2) if torch.rand(()) < 0.5 else crop), int(self.labels[at])


def loader_loop(sizes: Sizes, data: Any) -> list[float]:
    """Images a second of the script that people write: DataLoader, float32, ``.item()``."""
    from study.models.registry import build_classifier

    device = sizes.on
    model: nn.Module = build_classifier("resnet20", 10, image_size=sizes.image, seed=0).to(device)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    workers = min(sizes.workers, os.cpu_count() or 1)

    def endless(images: Any, batch: int) -> Iterator[Any]:
        loader = torch.utils.data.DataLoader(
            Augmented(images), batch, shuffle=True, drop_last=True, num_workers=workers,
            pin_memory=device.type == "cuda", persistent_workers=workers > 0,
        )  # fmt: skip
        while True:
            yield from loader

    pairs = zip(
        endless(data.train.images, sizes.batch),
        endless(data.outliers.images, sizes.outlier_batch),
        strict=True,
    )
    speeds, total = [], 0.0
    for number in range(sizes.rounds + 1):
        begun, seen = time.perf_counter(), 0
        for (images, labels), (outliers, _) in itertools.islice(pairs, max(2, sizes.steps // 3)):
            both = torch.cat([images, outliers]).to(device)
            logits = model(both)
            energy = -logits.logsumexp(dim=1)
            hinges = functional.relu(energy[: len(labels)] + 8).square().mean()
            hinges = hinges + functional.relu(-4 - energy[len(labels) :]).square().mean()
            loss = functional.cross_entropy(logits[: len(labels)], labels.to(device))
            loss = loss + 0.1 * hinges
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item()
            seen += len(both)
        if number:
            speeds.append(seen / (time.perf_counter() - begun))
    return speeds


def bits(sizes: Sizes) -> Iterator[Row]:
    """Whether a trial gives the same bits twice, as ``--replay`` wants it."""
    data = data_of(sizes, train=min(sizes.train, 4096))

    def digest(**changes: Any) -> str:
        given = section(sizes, 1, min(sizes.epoch_images, 2560), **changes)
        *_, last = trained(sizes, "energy", given, "resnet20", data)
        found = hashlib.sha256()
        for tensor in last.state.model.values():
            found.update(tensor.cpu().numpy().tobytes())
        for one in last.scores.sets.values():
            found.update(b"".join(values.tobytes() for values in one.scores.values()))
        return found.hexdigest()

    same = digest(deterministic=True) == digest(deterministic=True)
    yield row_of("gpu/check/bits", [float(same)], what="deterministic: same bits twice (1 yes)")
    fast = digest() == digest()
    yield row_of("gpu/bits/fastest", [float(fast)], what="without it: the same bits (1 yes)")
    graph = digest(deterministic=True, graph=False) == digest(deterministic=True)
    what = "a graph's bits are the plain step's (1 yes)"
    yield row_of("gpu/bits/graph", [float(graph)], what=what)


def memory(sizes: Sizes) -> Iterator[Row]:
    """Whether a trial without memory fails as that, and leaves the process fit for the next."""
    from study.records.files import RunFolder
    from study.training.assignment import Assignment
    from study.training.loop import Goal
    from study.training.starting import Starting
    from study.training.trial import TrialSetting, run_trial

    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        run = RunFolder(Path(folder))
        run.manifest.touch()
        data = data_of(sizes, train=min(sizes.train, 8192))
        goal = Goal("val/fpr95", None)
        setting = TrialSetting("energy", data, Starting(), run.path, goal, "best", 1, sizes.device)

        def last(number: int, **changes: Any) -> dict[str, Any]:
            given = section(sizes, 1, sizes.batch * 4) | changes
            trial = Assignment(number, 0, {"backbone": "resnet20", "dropout": 0.0}, given)
            told: dict[str, Any] = json.loads(list(run_trial(trial, setting))[-1])
            return told

        with short_of_memory(sizes):
            failed = last(0, batch_size=sizes.batch * 32, epoch_images=sizes.batch * 32)
        after = last(1)
    held = failed.get("cause") == "memory" and "metrics" in after
    what = "out of memory: told as that, the next trial trains (1 yes)"
    yield row_of("gpu/check/memory", [float(held)], what=what)


@contextmanager
def short_of_memory(sizes: Sizes) -> Iterator[None]:
    """A GPU with next to no memory left; in a rehearsal the forward raises what that would."""
    if sizes.device == "cuda":
        torch.cuda.set_per_process_memory_fraction(0.01)
        yield
        torch.cuda.set_per_process_memory_fraction(1.0)
        return

    def forward(*_: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    own = nn.Conv2d.forward
    nn.Conv2d.forward = forward  # type: ignore[method-assign,assignment]
    yield
    nn.Conv2d.forward = own  # type: ignore[method-assign]


def together(sizes: Sizes) -> Iterator[Row]:
    """Images a second of several trials at once over one alone, and what a study would take."""
    from study.device import gpu_memory_bytes
    from study.training.assignment import Assignment
    from study.training.loop import Goal
    from study.training.starting import Starting
    from study.training.trial import TrialSetting
    from study.tune.gpu_share import TOGETHER, probe, trials_per_gpu

    cuda = sizes.device == "cuda"
    data, goal = data_of(sizes), Goal("val/fpr95", None)
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        setting = TrialSetting(
            "energy", data, Starting(), Path(folder), goal, "best", 1, sizes.device
        )
        given = section(sizes, 1, sizes.epoch_images)
        trial = Assignment(0, 0, {"backbone": "resnet20", "dropout": 0.0}, given)
        at_once = TOGETHER if cuda else (1, 2)
        found = probe(setting, trial, together=at_once, seconds=4.0 if cuda else 0.1)
    alone = found[0].images_per_s
    for one in found:
        what = f"{one.trials} trials at once over one alone, images a second"
        yield row_of(f"gpu/together/{one.trials}", [one.images_per_s / alone], what=what)
        what = f"{one.trials} at once, memory of all"
        yield row_of(f"gpu/together/{one.trials}/memory", [one.memory_bytes / 2**30], "GiB", what)
    chosen = trials_per_gpu(found, gpu_memory_bytes() if cuda else 2**40)
    yield row_of("gpu/together/chosen", [chosen], what="trials that a study would run at once")


def numerics(sizes: Sizes) -> Iterator[Row]:
    """The paired difference of bf16 and fp32 over seeds, its 95 % interval's far end."""
    data = data_of(sizes, train=min(sizes.train, 2 * sizes.epoch_images))
    names = {"fpr95": "val/fpr95", "accuracy": "val/id_accuracy"}
    differences: dict[str, list[float]] = {key: [] for key in names}
    begun = time.monotonic()
    for seed in range(sizes.seeds):
        if seed > 2 and time.monotonic() - begun > 0.7 * LIMITS_S["numerics"]:
            break  # an interval over three is better than none
        ends = []
        for precision in ("bf16", "fp32"):
            given = section(sizes, sizes.epochs, sizes.epoch_images, precision=precision)
            *_, last = trained(sizes, "energy", given, "resnet20", data, seed=seed)
            ends.append(last.metrics)
        for key, name in names.items():
            differences[key].append(100 * (ends[0][name] - ends[1][name]))
    for key, told in differences.items():
        half = T_975[len(told) - 1] * statistics.stdev(told) / math.sqrt(len(told))
        far_end = abs(statistics.fmean(told)) + half
        yield row_of(f"gpu/bf16/{key}", told, "points") | {"measured": far_end}
    what = "ID accuracy of fp32, last seed: what the pictures are worth"
    yield row_of("gpu/numerics/accuracy", [100 * ends[1]["val/id_accuracy"]], "%", what)


def study(sizes: Sizes) -> Iterator[Row]:
    """Seconds of twelve trials through the command line, with the base in the cache."""
    with tempfile.TemporaryDirectory(prefix="gpu-") as name:
        folder = Path(name)
        write_data(folder / "data", sizes)
        environment = os.environ | {"OOD_STUDY_CACHE": str(folder / "cache")}
        seconds = []
        for trials in (1, 12):  # the first brings the base into the cache
            command = [sys.executable, str(ROOT / "run_study.py"), "--space", "energy"]
            command += ["--data-root", str(folder / "data"), "--out", str(folder / str(trials))]
            command += ["--num-trials", str(trials), "--set", "tune.finish=0"]
            begun = time.monotonic()
            subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
            seconds.append(time.monotonic() - begun)
    yield row_of("gpu/study", seconds[1:], "s")


def write_data(root: Path, sizes: Sizes) -> None:
    """Made-up pictures of every role, as a study finds them."""
    sets = {
        "id/train": (sizes.train + sizes.train // 9, 10),  # a tenth of them becomes validation
        "id/test": (sizes.validation, 10),
        "outliers/gratings_train": (sizes.outliers, 0),
        "ood_val/gratings": (sizes.validation, 0),
        "ood_test/others": (sizes.validation, 0),
    }
    for seed, (name, (number, classes)) in enumerate(sets.items()):
        images = pictures(name, number, sizes.image, seed=seed, classes=classes)
        path = root / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, images.pixels)
        if classes:
            np.save(root / f"{name}_labels.npy", images.labels)
