"""What can be had at once: OOD detection against ID accuracy."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.selection import ID_ACCURACY
from analysis.tables import Records, direction_of


def pareto(study: Records, metrics: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Finished trials that no other finished trial beats in everything.

    Args:
        study: its records.
        metrics: what counts; the study's detection metric and ID accuracy where None.

    Returns:
        trial_id, epoch and the metrics (fractions), by rising ID accuracy. Equal points are all
        kept. Empty if nothing finished.
    """
    metrics = metrics or (study.detection_metric, ID_ACCURACY)
    finished = study.trials[study.trials["status"] == "finished"].dropna(subset=list(metrics))
    signs = [1.0 if direction_of(metric) == "min" else -1.0 for metric in metrics]
    costs = finished[list(metrics)].to_numpy(dtype=np.float64) * np.asarray(signs)
    front = finished[efficient(costs)].rename(columns={"checkpoint_epoch": "epoch"})
    columns = ["trial_id", "epoch", *metrics]
    return front[columns].sort_values([metrics[-1], "trial_id"], ignore_index=True)


def efficient(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points are not dominated.

    Args:
        costs: (N, D), lower is better in each column.

    Returns:
        (N,) True where no other point is at most as costly everywhere and cheaper somewhere.
    """
    no_worse = (costs[:, None, :] <= costs[None, :, :]).all(axis=2)
    better = (costs[:, None, :] < costs[None, :, :]).any(axis=2)
    return np.asarray(~(no_worse & better).any(axis=0))
