"""A study in memory: no folder, no images, an objective that is a known function of the space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.study import Study
from study.records.files import STATUSES, RunFolder

Draw = Callable[[np.random.Generator], Any]


def fake_search(
    value: Callable[[Mapping[str, Any]], float],
    draws: Mapping[str, Draw],
    num_trials: int,
    *,
    seed: int = 0,
    epochs: int = 1,
) -> Study:
    """Trials with parameters drawn by ``draws`` and ``value`` of them as val/objective."""
    rng = np.random.default_rng(seed)
    trials, curves = [], []
    for number in range(num_trials):
        params = {name: draw(rng) for name, draw in draws.items()}
        end = value(params)
        trial = {"trial_id": f"{number:05d}", "status": "finished", "checkpoint_epoch": epochs}
        trial |= {"epochs": epochs, "time_s": 1.0, "val/objective": end, "val/fpr95": end}
        trial |= {"val/auroc": 1 - end, "val/id_accuracy": 0.9}
        trials.append(trial | {f"param/train.{k}": v for k, v in params.items()})
        for epoch in range(1, epochs + 1):
            now = end + 0.1 * (epochs - epoch)
            row = {"trial_id": trial["trial_id"], "epoch": epoch, "val/objective": now}
            curves.append(row | {"val/fpr95": now, "val/auroc": 1 - now, "val/id_accuracy": 0.9})
    frame = pd.DataFrame(trials)
    frame["status"] = pd.Categorical(frame["status"], categories=STATUSES)
    spec = {"search": {name: {"uniform": [0, 1]} for name in draws}, "tune": {"seed": seed}}
    return Study(RunFolder(Path("nowhere")), frame, pd.DataFrame(curves), spec=spec)
