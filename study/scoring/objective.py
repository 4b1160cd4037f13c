"""The one number that searcher, trial scheduler and checkpoint rule minimise: val/objective.

A metric is turned into a cost in [0, 1] (itself where lower is better, one minus it where higher
is). Where the floor on ID accuracy holds, the objective is that cost; where it does not, it is
1 + the shortfall, so that every configuration under the floor is worse than any above it and the
search is still told in which direction the floor lies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from study.scoring.metrics import metric_of

ID_ACCURACY = "val/id_accuracy"
OBJECTIVE = "val/objective"


def cost(metric: str, value: float) -> float:
    """``value`` of ``metric`` as a cost in [0, 1], lower = better."""
    return value if metric_of(metric).better == "lower" else 1.0 - value


def objective(metrics: Mapping[str, float], metric: str, floor: float | None) -> float:
    """What the search minimises.

    Args:
        metrics: metrics of one epoch, with ``metric`` and ``val/id_accuracy``.
        metric: name of the metric to select by, such as ``val/fpr95``.
        floor: least ``val/id_accuracy`` (a fraction), None for no floor.

    Returns:
        The cost in [0, 1] where the floor holds, else 1 + the shortfall of ID accuracy.

    Raises:
        ValueError: if the metric is not finite.
    """
    value = metrics[metric]
    if not math.isfinite(value):
        raise ValueError(f"{metric} is {value}")
    if floor is not None and metrics[ID_ACCURACY] < floor:
        return 1.0 + floor - metrics[ID_ACCURACY]
    return cost(metric, value)
