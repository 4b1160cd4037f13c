"""A base's logits on a set, computed once and kept on disk by their content.

Energies of up to 5,000 outliers are what margins are measured by, at every start of a study. A
file is named after a hash of the network's weights and code, the images, and what the device
computes in the last bit. ``logits`` in the cache folder may be removed at any time.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.data import batches
from study.data.batches import evaluation_batches
from study.data.images import ImageSet
from study.device import arithmetic_of
from study.records.cache import LOCK, alone, cache_folder
from study.records.cached import load_array, save_array

_BATCH_SIZE = 512
_TORCH = Path(torch.__file__).parent


def logits_of(model: nn.Module, images: ImageSet, device: torch.device) -> Tensor:
    """Logits of a classifier in evaluation mode, from the cache or computed into it.

    Args:
        model: on ``device``.
        images: a set.
        device: where to compute.

    Returns:
        (N, K), on the CPU, of the model's own type.
    """
    path = cache_folder() / "logits" / f"{_key(model, images, device)}.npy"
    return torch.from_numpy(_kept(path, lambda: _computed(model, images, device)))


def _kept(path: Path, compute: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
    with suppress(OSError), alone(path.with_suffix(f".{LOCK}")):
        found = load_array(path)
        if found is None:
            save_array(path, compute())
            found = load_array(path)
        if found is not None:
            return np.array(found)  # a copy may be written to, as torch wants it
    return compute()  # a cache that cannot be used is done without


@torch.inference_mode()
def _computed(model: nn.Module, images: ImageSet, device: torch.device) -> NDArray[np.float32]:
    model.eval()
    batches = evaluation_batches(images, _BATCH_SIZE, device, channels_last=True)
    logits: NDArray[np.float32] = torch.cat([model(batch).cpu() for batch in batches]).numpy()
    return logits


def _key(model: nn.Module, images: ImageSet, device: torch.device) -> str:
    parts = [*network_parts(model, device), images.fingerprint]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def network_parts(model: nn.Module, device: torch.device) -> list[str]:
    """What tells one network's outputs from another's: weights, code, and the device's bits."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    code = {inspect.getfile(type(one)) for one in model.modules()} | {inspect.getfile(batches)}
    for file in sorted(code):
        if not Path(file).is_relative_to(_TORCH):  # torch's own is told by its version
            digest.update(Path(file).read_bytes())
    return [digest.hexdigest(), repr(model), *arithmetic_of(device)]
