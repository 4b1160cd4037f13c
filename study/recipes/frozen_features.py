"""Features of a frozen backbone, computed once and kept on disk by their content.

A file is named after a hash of the backbone's weights and code, the images, the augmentation, the
number of views and what the device computes in the last bit, so that all trials and workers of a
machine share it, mapped into memory.
``features`` in the cache folder may be removed at any time.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from study.data import batches
from study.data.batches import DeviceImages, draw, on_device, to_float
from study.data.images import ImageSet
from study.data.order import Augment
from study.device import arithmetic_of
from study.models import classifier
from study.models.classifier import Classifier
from study.records.cache import LOCK, alone, cache_folder
from study.records.cached import fill_array, load_array
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

        def compute(into: NDArray[Any]) -> None:
            self._compute(on_device(images, self._device), augment, into)

        with suppress(OSError), alone(path.with_suffix(f".{LOCK}")):
            found = _read(path, shape)
            if found is None:
                fill_array(path, np.float32, shape, compute)
                found = _read(path, shape)
            if found is not None:
                return found
        held = np.empty(shape, np.float32)  # a cache that cannot be used is done without
        compute(held)
        held.flags.writeable = False
        return held

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
            arithmetic_of(self._device),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

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


def _read(path: Path, shape: tuple[int, int, int]) -> Features | None:
    """The file, mapped; None where there is none, or a damaged one."""
    array = load_array(path)
    if array is None or array.shape != shape or array.dtype != np.float32:
        return None
    return array
