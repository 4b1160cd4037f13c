"""A recorded table of trials whose every number is a known function of the point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from study.space.loading import load_space
from study.space.points import suggested
from study.space.study_spec import StudySpec

SPACE = Path(__file__).resolve().parents[1] / "benchmarks" / "search_tables" / "demo.yaml"
BASE_ACCURACY, BASE_FPR95, NUM_RESAMPLES = 0.8, 0.7, 8
EPOCHS, PATH = 4, (0.2, 0.4, 0.6, 0.8)


def fake_space() -> StudySpec:
    """The demo's own."""
    return load_space(str(SPACE))


def fake_rows(num_trials: int = 24) -> pd.DataFrame:
    """Rows of the recorder: a wider margin detects more and costs more accuracy, sooner or later.

    Half a is half b. Resample r says .001 r more accuracy than half a says, in every row, and of
    trial t, whose number is odd, .002 r more.
    """
    generator = np.random.default_rng(0)
    domains = suggested(fake_space())
    rows = [_row({}, -1, 0, 0.0, strength=0.0)]
    for trial in range(num_trials):
        point = {name: one.drawn(generator) for name, one in domains.items()}
        for epoch in range(1, EPOCHS + 1):
            for alpha in (*(PATH if epoch in (1, EPOCHS) else ()), 1.0):
                strength = point["train.m_in.sd"] / 8 * epoch / EPOCHS * alpha
                rows.append(_row(point, trial, epoch, alpha, strength=strength))
    return pd.DataFrame(rows).assign(base="base")


def _row(
    point: dict[str, Any], trial: int, epoch: int, alpha: float, *, strength: float
) -> dict[str, Any]:
    accuracy, fpr95 = BASE_ACCURACY - 0.1 * strength**2, BASE_FPR95 - 0.5 * strength
    step = 0.002 if trial % 2 and trial > 0 else 0.001
    noise = accuracy + step * np.arange(NUM_RESAMPLES)
    keys = {"trial": trial, "epoch": epoch, "alpha": alpha, **point}
    return keys | {
        "accuracy": accuracy,
        "accuracy_a": accuracy,
        "accuracy_noise": noise,
        "fpr95": fpr95,
        "fpr95_a": fpr95,
        "fpr95_noise": np.full(NUM_RESAMPLES, fpr95),
    }
