"""Features of a frozen backbone, computed once and kept on disk by their content.

A file is named after a hash of the backbone's weights and code, the images, the augmentation and
the number of views, so that all trials and workers of a machine share it, mapped into memory.
``features`` in the cache folder may be removed at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from study.data import batches
from study.data.batches import DeviceImages, draw, on_device, to_float
from study.data.decode import cache_folder
from study.data.images import ImageSet
from study.data.order import Augment
from study.models import classifier
from study.models.classifier import Classifier
from study.seeding import numpy_generator

Features = NDArray[np.float32]

BATCH_SIZE = 512  # that of the evaluation, so that its logits come out the same to the last bit
_LAYOUT = 1


class Frozen:
    """The part of a classifier before its last layer, which stays as it is.

    Attributes:
        model: in evaluation mode; no parameter of its backbone takes a gradient any more.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        """Freeze ``model``, which is on ``device``.

        Raises:
            ValueError: where the model has no features and no last layer ``fc``.
        """
        if not isinstance(model, Classifier):
            kind = type(model).__name__
            raise ValueError(f"fine_tune: linear needs a classifier's last layer; {kind} has none")
        self.model = model.eval()
        self._device = device
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith("fc."))
        self._weights = _hash_of_weights(model)

    def features(self, images: ImageSet, augment: Augment, views: int) -> Features:
        """Features of augmented views, from the cache or computed into it.

        The views come from the streams ("feature view", v) of seed 0: all trials have the same.

        Args:
            images: a set.
            augment: how its views differ.
            views: V >= 1; without augmentation there is one.

        Returns:
            Read-only, shape (V, N, D).
        """
        views = 1 if augment == "none" else views
        path = cache_folder() / "features" / f"{self._key(images, augment, views)}.npy"
        shape = (views, len(images), self.model.num_features)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            found = _read(path, shape)
            if found is None:
                self._write(path, images, augment, shape)
                found = _read(path, shape)
        if found is None:
            raise OSError(f"{path}: the features that were written cannot be read")
        return found

    def _key(self, images: ImageSet, augment: Augment, views: int) -> str:
        code = [classifier, batches, inspect.getmodule(type(self.model.backbone))]
        sources = [Path(str(module.__file__)).read_bytes() for module in code if module]
        parts = [
            _LAYOUT,
            repr(self.model),  # pooling and stem have no weights of their own
            self._weights,
            images.fingerprint,
            augment,
            views,
            [hashlib.sha256(source).hexdigest() for source in sources],
            torch.__version__,
            self._device.type,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def _write(
        self, path: Path, images: ImageSet, augment: Augment, shape: tuple[int, int, int]
    ) -> None:
        """Compute into a file of another name, and rename it."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            array = np.lib.format.open_memmap(temporary, "w+", np.dtype(np.float32), shape)
            self._compute(on_device(images, self._device), augment, array)
            array.flush()
            del array
            _digest_of(path).write_text(_digest(temporary))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @torch.no_grad()
    def _compute(self, images: DeviceImages, augment: Augment, into: Features) -> None:
        rows = np.arange(images.num_images)
        for view, values in enumerate(into):
            draws = draw(rows, augment, numpy_generator(0, "feature view", view), images.size)
            for start in range(0, images.num_images, BATCH_SIZE):
                part = images.gather(draws.part(slice(start, start + BATCH_SIZE)))
                found = self.model.features(to_float(part, channels_last=True))
                values[start : start + BATCH_SIZE] = found.cpu().numpy()


def _hash_of_weights(model: Classifier) -> str:
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if not name.startswith("fc."):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Of two workers that need the same features one computes them, and the other waits."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _digest_of(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(path: Path, shape: tuple[int, int, int]) -> Features | None:
    """The file, mapped; None where there is none, or a damaged one."""
    try:
        if _digest(path) != _digest_of(path).read_text():
            return None
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if array.shape != shape or array.dtype != np.float32:
        return None
    return cast(Features, array)
