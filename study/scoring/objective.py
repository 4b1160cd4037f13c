"""The one number that searcher, trial scheduler and checkpoint rule minimise: val/objective.

A metric is turned into a cost in [0, 1] (itself where lower is better, one minus it where higher
is). Under the floor on ID accuracy a penalty is added that grows with the shortfall, so that the
metric still counts there: the best models lie on the floor's edge, and a search that is told
nothing of the metric beyond it settles far inside. What may be selected is another question, and
there the floor is hard (`standing`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from study.scoring.metrics import metric_of

ID_ACCURACY = "val/id_accuracy"
OBJECTIVE = "val/objective"
FLOOR_HOLDS = "val/floor_holds"
"""Probability that the floor on ID accuracy holds (`study.scoring.floor`)."""
SHORTFALL = "val/floor_shortfall"
"""How far a state lies under the floor, a fraction of ID accuracy; 0 where it passes."""
ALPHA = "val/alpha"
"""Place on the path from the base to the trained weights: 1 as trained, 0 the base."""
PENALTY = 0.2
"""Cost of one percentage point under the floor."""


def cost(metric: str, value: float) -> float:
    """``value`` of ``metric`` as a cost in [0, 1], lower = better."""
    return value if metric_of(metric).better == "lower" else 1.0 - value


WORST = (True, math.inf)
"""The standing of a trial without an epoch."""


def standing(metrics: Mapping[str, float]) -> tuple[bool, float]:
    """What states of one trial are ordered by, the best first: above the floor, then objective."""
    return metrics.get(SHORTFALL, 0.0) > 0, metrics[OBJECTIVE]


def rejudged(
    metrics: Mapping[str, float], metric: str, floor: float | None, penalty: float | None
) -> dict[str, float]:
    """Metrics of a state that another floor judged, under this one; by the accuracy alone."""
    short = 0.0 if floor is None else max(0.0, floor - metrics[ID_ACCURACY])
    told = {**metrics, SHORTFALL: short}
    return told | {OBJECTIVE: objective(told, metric, penalty)}


def objective(metrics: Mapping[str, float], metric: str, penalty: float | None = PENALTY) -> float:
    """What the search minimises.

    Args:
        metrics: metrics of one state, with ``metric`` and, where there is a floor,
            ``val/floor_shortfall``.
        metric: name of the metric to select by, such as ``val/fpr95``.
        penalty: cost of a percentage point of shortfall; None where every state under the floor
            is to be worse than any above it, and the metric does not count there.

    Returns:
        The cost in [0, 1] where the floor holds, else with the penalty; or 1 + the shortfall.

    Raises:
        ValueError: if the metric is not finite.
    """
    value = metrics[metric]
    if not math.isfinite(value):
        raise ValueError(f"{metric} is {value}")
    short = metrics.get(SHORTFALL, 0.0)
    if short and penalty is None:
        return 1.0 + short
    return cost(metric, value) + 100 * short * (penalty or 0.0)
