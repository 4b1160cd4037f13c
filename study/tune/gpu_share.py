"""How many trials share a GPU: measured where the study runs, decided by a rule."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from study.data.images import ImageSet
from study.data.roles import StudyData
from study.errors import TrialFailed
from study.recipes.registry import make_recipe
from study.training.assignment import Assignment
from study.training.loop import EpochResult, train
from study.training.trial import TrialSetting, fresh_model

TOGETHER: Final = (1, 2, 4)
"""Trials at once that a probe measures."""

_WORTH: Final = 1.1  # times the images a second, or fewer at once: a scheduler then sees more
_FULL: Final = 0.9  # of a GPU's memory; what a validation takes beside training is above it
_IMAGES: Final = 4_096  # of each set: a few epochs in the seconds of a measurement
_CONTEXT_BYTES: Final = 2**29  # what CUDA itself takes for a process, or a little less
_EPOCHS: Final = 100_000
_LOOK_EVERY_S: Final = 1.0
_PATIENCE_S: Final = 120.0  # until all have loaded their kernels, and between their epochs


@dataclass(frozen=True)
class Together:
    """What so many trials at once on one GPU were measured to do.

    Attributes:
        trials: that trained at once.
        images_per_s: of all of them; 0 where one ran out of memory.
        memory_bytes: of all of them.
    """

    trials: int
    images_per_s: float
    memory_bytes: int


def trials_per_gpu(measured: Sequence[Together], memory_bytes: int) -> int:
    """How many trials share a GPU.

    More at once only where they fit and train a tenth more images a second than the best smaller
    number: of trials that run side by side each takes longer, and a scheduler sees it later.

    Args:
        measured: in the order of their trials.
        memory_bytes: of the GPU.
    """
    best, *more = measured or [Together(1, 0.0, 0)]
    for one in more:
        fits = one.images_per_s > 0 and one.memory_bytes <= _FULL * memory_bytes
        if fits and one.images_per_s >= _WORTH * best.images_per_s:
            best = one
    return best.trials


def probe(
    setting: TrialSetting,
    assignment: Assignment,
    *,
    together: Sequence[int] = TOGETHER,
    seconds: float = 3.0,
) -> list[Together]:
    """Train a study's trial one, two and four times at once on the first GPU.

    In processes of their own, which end with it; on a few of the study's images, with nothing
    written.

    Args:
        setting: of the study's trials.
        assignment: one of them.
        together: how many at once, rising.
        seconds: of each measurement.

    Returns:
        Less than was asked for where the processes do not answer.
    """
    spawn = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    few = replace(setting, data=_few(setting.data))
    most = max(together)
    barrier, told = spawn.Barrier(most), spawn.Queue()
    arguments = (few, assignment, tuple(together), seconds, barrier, told)
    workers = [
        spawn.Process(target=_probed, args=(number, *arguments), daemon=True)
        for number in range(most)
    ]
    for worker in workers:
        worker.start()
    # What a study's sets take beside the few images of the probe, once a process.
    sets = _bytes(setting.data) - _bytes(few.data)
    try:
        return [
            replace(one, memory_bytes=one.memory_bytes + one.trials * sets)
            for one in _gathered(told, workers, together)
        ]
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _gathered(told: Any, workers: Sequence[Any], together: Sequence[int]) -> Iterator[Together]:
    for number in together:
        rows: list[tuple[float, int]] = []
        end = time.monotonic() + _PATIENCE_S
        while len(rows) < number:
            with suppress(queue.Empty):
                rows.append(told.get(timeout=_LOOK_EVERY_S))
                continue
            if time.monotonic() > end or any(worker.exitcode for worker in workers):
                return
        speeds, sizes = zip(*rows, strict=True)
        yield Together(number, sum(speeds) if all(speeds) else 0.0, sum(sizes))


def _probed(
    number: int,
    setting: TrialSetting,
    assignment: Assignment,
    together: Sequence[int],
    seconds: float,
    barrier: Any,
    told: Any,
) -> None:
    """One of the processes: trains where it is its turn, and waits for the others where not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the study hears it, and ends this process
    torch.set_num_threads(setting.threads)
    epochs = None
    for at_once in together:
        barrier.wait(_PATIENCE_S)
        if number < at_once:
            epochs = epochs or _epochs(setting, assignment)
            told.put(_speed(epochs, seconds, setting.device))
        barrier.wait(_PATIENCE_S)


def _speed(epochs: Iterator[EpochResult], seconds: float, device: str) -> tuple[float, int]:
    """Images a second, 0 where memory is too small, and the bytes that are held."""
    try:
        next(epochs)  # kernels are loaded, the step is captured
        speeds: list[float] = []
        begun = time.perf_counter()
        while not speeds or time.perf_counter() - begun < seconds:
            speeds.append(next(epochs).metrics["images_per_s"])
    except (torch.OutOfMemoryError, TrialFailed, StopIteration):  # the last of one that failed
        return 0.0, 0
    held = torch.cuda.max_memory_reserved() + _CONTEXT_BYTES if device == "cuda" else 0
    return statistics.fmean(speeds), held


def _epochs(setting: TrialSetting, assignment: Assignment) -> Iterator[EpochResult]:
    base = setting.starting.base_of(assignment.base)
    section = assignment.train | {"epochs": _EPOCHS, "warmup_epochs": 0}
    recipe = make_recipe(setting.recipe, section, base.build if base else None)
    model = fresh_model(recipe, assignment, setting.data.num_classes, setting.data.image_size)
    device = torch.device(setting.device)
    return train(recipe, model, setting.data, seed=0, goal=setting.goal, device=device)


def _bytes(data: StudyData) -> int:
    """Of the pixels of all sets that a trial puts on its GPU."""
    return sum(images.pixels.nbytes for images in replace(data, kept=None).sets().values())


def _few(data: StudyData) -> StudyData:
    """The same roles with a few images each."""

    def few(_role: str, images: ImageSet) -> ImageSet:
        # Evenly: sets may lie sorted by class.
        return images.take(np.linspace(0, len(images) - 1, min(len(images), _IMAGES)).astype(int))

    return replace(data, kept=None).mapped(few)
