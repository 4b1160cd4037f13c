"""A data root with a cut of the embedded demo, for studies whose size is not the point."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from study.data.demo import ID_TEST, ID_TRAIN, OOD_TEST, OOD_VAL, OUTLIERS, demo_set
from tests.fake_data import encode, write_parquet

# What is left of each set: the leak check of the whole demo takes longer than a small study's
# trials.
_NUM_ID = {ID_TRAIN: 400, ID_TEST: 60}
_NUM_OOD = {OUTLIERS: 160} | dict.fromkeys((*OOD_VAL, *OOD_TEST), 48)
_FOLDERS = {OUTLIERS: "outliers"} | dict.fromkeys(OOD_VAL, "ood_val")


def write_small_root(root: Path) -> Path:
    """Every role of ``--data-root``: digits as ID, the demo's drawings as the rest."""
    for which, num in _NUM_ID.items():
        images = demo_set(which)
        rows = _spread(len(images), num)
        file = "train" if which == ID_TRAIN else "test"
        write_parquet(
            root / "cifar10" / f"{file}.parquet",
            [encode(images.pixels[row]) for row in rows],
            [images.ids[row].decode() for row in rows],
            images.labels[rows].tolist(),
            images.classes,
        )
    for which, num in _NUM_OOD.items():
        pixels = demo_set(which).pixels
        folder = root / _FOLDERS.get(which, "ood_test")
        folder.mkdir(exist_ok=True)
        name = "drawn_train" if which == OUTLIERS else which
        np.save(folder / f"{name}.npy", pixels[_spread(len(pixels), num)])
    return root


def _spread(size: int, num: int) -> np.ndarray:
    return np.linspace(0, size - 1, num).astype(int)
