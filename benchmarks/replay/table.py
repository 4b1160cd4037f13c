"""A recorded table of trials as arrays: every trial at every epoch and every place of its path.

The tables are those of ``record_trials.py``, which scores paths at the first and the last epoch,
at a few alphas. The rest is filled in: along alpha by monotone cubics (PCHIP), and at the epochs
between by what the first and the last epoch say of alpha, shifted, in proportion to alpha, by how
far the epoch's own weights lie from the line between the two. The same goes for the resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from optuna.distributions import BaseDistribution
from scipy.interpolate import PchipInterpolator

from replay.cube import Floats, Point
from study.space.loading import load_space
from study.space.points import suggested
from study.space.study_spec import StudySpec

METRICS = ("accuracy", "fpr95")
ALPHAS = np.linspace(0.0, 1.0, 21)


@dataclass(frozen=True)
class Table:
    """Trials of one base, R resamples of half of its validation.

    Attributes:
        points: of each of N trials: searched parameter -> value.
        distributions: of every searched parameter.
        truth: metric -> (N, E, A) over both halves, at every epoch and each of ``ALPHAS``.
        noise: metric -> (N, E, A, R), how far each resample of half a lies from half a.
    """

    points: Sequence[Point]
    distributions: dict[str, BaseDistribution]
    truth: dict[str, Floats]
    noise: dict[str, Floats]

    @property
    def num_epochs(self) -> int:
        """E."""
        return int(self.truth["accuracy"].shape[1])

    @property
    def base(self) -> dict[str, float]:
        """The base's own numbers: alpha 0 of any trial."""
        return {name: float(self.truth[name][0, 0, 0]) for name in METRICS}


def read_table(space: Path) -> Table:
    """The parts ``NAME-00.parquet`` ... beside the space ``NAME.yaml``.

    Raises:
        ValueError: where there are none, or they start from different bases.
    """
    parts = sorted(space.parent.glob(f"{space.stem}-*.parquet"))
    if not parts:
        raise ValueError(f"{space}: no part beside it; record one with record_trials.py")
    rows = pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)
    if rows["base"].nunique() > 1:
        raise ValueError(
            f"{space}: parts start from different bases, {sorted(rows['base'].unique())}"
        )
    return table_of(rows, load_space(str(space)))


def table_of(rows: pd.DataFrame, spec: StudySpec) -> Table:
    """Rows of ``record_trials.py`` as arrays; trials that failed or are not whole are left out."""
    distributions = {name: one.distribution() for name, one in suggested(spec).items()}
    num_epochs = int(spec.train["epochs"])
    base = rows[rows["trial"] == -1].iloc[0]
    points, filled = [], []
    for _, trial in rows[rows["trial"] >= 0].groupby("trial"):
        if (trial["alpha"] == 1.0).sum() < num_epochs:
            continue
        points.append({name: trial.iloc[0][name] for name in distributions})
        filled.append(_filled(base, trial, num_epochs))
    stacked = np.stack(filled)  # (N, E, A, metric, 1 + R)
    truth = {name: stacked[..., place, 0] for place, name in enumerate(METRICS)}
    noise = {name: stacked[..., place, 1:] for place, name in enumerate(METRICS)}
    return Table(points, distributions, truth, noise)


def _filled(base: pd.Series, trial: pd.DataFrame, num_epochs: int) -> Floats:
    """One trial at every epoch and alpha: (E, A, metric, 1 + R), whole and deviations."""
    states = {
        (int(one["epoch"]), float(one["alpha"])): _numbers(one) for _, one in trial.iterrows()
    }
    ends = {}
    for epoch in (1, num_epochs):
        known = {0.0: _numbers(base)} | {a: one for (e, a), one in states.items() if e == epoch}
        places = sorted(known)
        ends[epoch] = PchipInterpolator(places, np.stack([known[a] for a in places]))(ALPHAS)
    paths = []
    for epoch in range(1, num_epochs + 1):
        share = (epoch - 1) / max(num_epochs - 1, 1)
        line = (1 - share) * ends[1] + share * ends[num_epochs]
        paths.append(line + ALPHAS[:, None, None] * (states[epoch, 1.0] - line[-1]))
    return np.stack(paths)


def _numbers(row: pd.Series) -> Floats:
    """(metric, 1 + R): a metric, and how far its resamples lie from that of half a."""
    return np.stack(
        [
            np.concatenate([[row[name]], np.asarray(row[f"{name}_noise"]) - row[f"{name}_a"]])
            for name in METRICS
        ]
    ).astype(np.float64)
