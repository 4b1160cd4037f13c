"""A table of trials that nobody trained, for searches to be replayed on where none is recorded.

    python benchmarks/made_up_table.py FOLDER
    python benchmarks/search.py FOLDER/made_up.yaml

writes the space ``search_tables/real.yaml`` as ``made_up.yaml`` and 96 random points of it as
``record_trials.py`` would. Accuracy and FPR95 are formulas with what was seen in real trials: wide
margins and heavy weights trade accuracy for detection, large steps lose accuracy that comes back
as the rate anneals, and a point of the path keeps more of the accuracy than of the detection that
a trial lost and won. The noise is that of half of validation in the first real trial that was
recorded (2,500 ID images): .0076 of accuracy and .047 of FPR95 that all states share, and .004 and
.012 of a trial's own, which grow with the square root of alpha.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from record_trials import ALPHAS, NUM_RESAMPLES, TABLES
from scipy.special import expit, logit

from study.seeding import numpy_generator
from study.space.loading import load_space
from study.space.points import suggested

BASE_ACCURACY, BASE_FPR95 = 0.785, 0.70
NUM_TRIALS = 96
Row = dict[str, Any]
Floats = NDArray[np.float64]


def measured(point: Mapping[str, Any], done: float, alpha: float) -> tuple[float, float]:
    """Accuracy and FPR95 of a point once ``done`` of its epochs are, in (0, 1], at ``alpha``."""
    weight = np.log10(point["train.energy_weight"] / 1e-3) / 3
    pull = (0.36 + 0.15 * point["train.m_in.sd"]) * weight + 0.1 * point["train.m_out.sd"]
    step = np.log10(point["train.lr"] * 128 / point["train.batch_size"] / 3e-4) / 2.2
    way = expit(6 * (pull - 0.7)) * expit(5 * (step - 0.2)) * (0.55 + 0.45 * done) * alpha**1.4
    dip = 0.16 * max(step - 0.2, 0) ** 1.5 * (1 - done) ** 0.7 + 0.1 * max(step - 0.75, 0)
    gain = 0.012 * np.sin(np.pi * min(0.6 * alpha, 0.5)) * min(1, step + 0.2)
    wrong_rate = 0.02 * (1 - np.exp(-(((np.log10(point["train.lr"]) + 2.6) / 0.7) ** 2)))
    accuracy = gain - 0.07 * way**1.6 * alpha**0.5 - (dip + wrong_rate) * alpha**2
    return BASE_ACCURACY + accuracy, expit(logit(BASE_FPR95) - 3.2 * way**0.8 + 2.4 * dip * alpha)


def rows() -> pd.DataFrame:
    """The base, and every trial at every epoch and, at the first and last one, every alpha."""
    spec = load_space(str(TABLES / "real.yaml"))
    domains, num_epochs = suggested(spec), int(spec.train["epochs"])
    generator = numpy_generator(0, "made-up table")
    shared = generator.normal(size=(2, NUM_RESAMPLES))
    told = [_row(BASE_ACCURACY, BASE_FPR95, shared, 0.0 * shared) | {"trial": -1, "epoch": 0}]
    told[0] |= {"alpha": 0.0}
    for trial in range(NUM_TRIALS):
        point = {name: one.drawn(generator) for name, one in domains.items()}
        own = generator.normal(size=(2, NUM_RESAMPLES))
        for epoch in range(1, num_epochs + 1):
            for alpha in (*(ALPHAS if epoch in (1, num_epochs) else ()), 1.0):
                numbers = measured(point, epoch / num_epochs, alpha)
                keys = {"trial": trial, "epoch": epoch, "alpha": alpha, **point}
                told.append(_row(*numbers, shared, alpha**0.5 * own) | keys)
    return pd.DataFrame(told).assign(base="made up")


def _row(accuracy: float, fpr95: float, shared: Floats, own: Floats) -> Row:
    """Whole and half a alike, and the resamples of half a."""
    width = float(np.sqrt(fpr95 * (1 - fpr95) / 0.21))
    return {
        "accuracy": accuracy,
        "accuracy_a": accuracy,
        "accuracy_noise": accuracy + 0.0076 * shared[0] + 0.004 * own[0],
        "fpr95": fpr95,
        "fpr95_a": fpr95,
        "fpr95_noise": fpr95 + 0.047 * width * shared[1] + 0.012 * own[1],
    }


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(TABLES / "real.yaml", folder / "made_up.yaml")
    rows().to_parquet(folder / "made_up-00.parquet", index=False)


if __name__ == "__main__":
    main()
