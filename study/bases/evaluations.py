"""A base's scores on the validation roles, computed once and kept on disk by their content.

Every study asks for them at its start, also where its base lies in the cache. A file is named
after a hash of the network's weights and code, all code of the project and of plugins, the
recipe's parameters, the roles' images, and what the device computes in the last bit.
``evaluations`` in the cache folder may be removed at any time.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from study.bases.logits import network_parts
from study.bases.training_code import ROOT
from study.data.images import ImageSet
from study.data.roles import StudyData
from study.plugins import active
from study.recipes.base import Recipe
from study.recipes.params import TrialParams
from study.records.cache import LOCK, alone, cache_folder
from study.records.cached import read_bytes, write_bytes
from study.training.evaluation import Evaluation, Scored, evaluate


def evaluation_of(
    recipe: Recipe[TrialParams], model: nn.Module, data: StudyData, device: torch.device
) -> Evaluation:
    """A base `study.training.evaluation.evaluate`-d, from the cache or computed into it.

    Args:
        recipe: says which scores. One that looks at a base of its own is evaluated anew.
        model: on ``device``.
        data: the roles.
        device: where to compute.

    Raises:
        TrialFailed: as `evaluate`.
    """
    if recipe.frozen is not None:
        return evaluate(recipe, model, data, device)
    key = _key(recipe, model, data, device)
    path = cache_folder() / "evaluations" / f"{key}.npz"
    found = None
    with suppress(OSError), alone(path.with_suffix(f".{LOCK}")):
        content = read_bytes(path)
        if content is not None:
            return _unpacked(content, data)
        found = evaluate(recipe, model, data, device)
        if all(one.device.type == "cpu" for one in found.fitted.values()):
            write_bytes(path, _packed(found))
    # A cache that cannot be used is done without.
    return found or evaluate(recipe, model, data, device)


def _packed(evaluation: Evaluation) -> bytes:
    arrays: dict[str, NDArray[Any]] = {}
    for number, one in enumerate([evaluation.id, *evaluation.ood.values()]):
        arrays[f"{number}/prediction"] = one.prediction
        arrays |= {f"{number}/score/{name}": values for name, values in one.scores.items()}
    arrays |= {f"fitted/{name}": one.numpy() for name, one in evaluation.fitted.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _unpacked(content: bytes, data: StudyData) -> Evaluation:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    sets = [data.val_id.images, *data.ood_val.sets.values()]
    id_, *ood = [_scored(arrays, number, one) for number, one in enumerate(sets)]
    fitted = {name: torch.from_numpy(one) for name, one in _under(arrays, "fitted/").items()}
    return Evaluation(id_, dict(zip(data.ood_val.sets, ood, strict=True)), fitted)


def _scored(arrays: Mapping[str, NDArray[Any]], number: int, images: ImageSet) -> Scored:
    return Scored(images, arrays[f"{number}/prediction"], _under(arrays, f"{number}/score/"))


def _under(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {
        name.removeprefix(prefix): one for name, one in arrays.items() if name.startswith(prefix)
    }


def _key(
    recipe: Recipe[TrialParams], model: nn.Module, data: StudyData, device: torch.device
) -> str:
    outliers = data.outliers.images.fingerprint if data.outliers else ""
    parts = [
        network_parts(model, device),
        _code(),
        np.__version__,
        f"{type(recipe).__module__}.{type(recipe).__qualname__}",
        recipe.params.model_dump_json(),
        [data.num_classes, data.train.images.fingerprint, data.val_id.images.fingerprint],
        [outliers, *((name, one.fingerprint) for name, one in data.ood_val.sets.items())],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _code() -> str:
    """All code that may have a part in a score: to follow imports takes longer than to read."""
    digest = hashlib.sha256()
    for file in _files():
        digest.update(f"{file.name} ".encode() + file.read_bytes())
    return digest.hexdigest()


def _files() -> Iterator[Path]:
    yield from sorted((ROOT / "study").rglob("*.py"))
    yield from (one.file for one in active())
