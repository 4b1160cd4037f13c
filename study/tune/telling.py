"""How a trial stands and why it was stopped, in the words of who reads it."""

from __future__ import annotations

from collections.abc import Mapping

from study.scoring.floor import Floor
from study.scoring.metrics import metric_text
from study.scoring.objective import FLOOR_HOLDS, ID_ACCURACY, SHORTFALL
from study.searchers.rungs import Place


def standing_text(metrics: Mapping[str, float], metric: str, floor: Floor | None) -> str:
    """What keeps a state from being chosen; where nothing does, the numbers it is chosen by.

    Args:
        metrics: of the state.
        metric: what the study selects by.
        floor: on ID accuracy, None without one.
    """
    if floor is None or not metrics.get(SHORTFALL):
        names = [name for name in dict.fromkeys([metric, ID_ACCURACY]) if name in metrics]
        return ", ".join(metric_text(name, metrics[name]) for name in names)
    accuracy = metric_text(ID_ACCURACY, metrics[ID_ACCURACY])
    if metrics[ID_ACCURACY] < floor.accuracy:
        return f"{accuracy} under the floor of {_percent(floor.accuracy)}"
    held, wanted = metrics.get(FLOOR_HOLDS, 0.0), floor.confidence or 0.0
    return (
        f"{accuracy} holds the floor of {_percent(floor.accuracy)} with a probability of "
        f"{held:.0%}, not {wanted:.0%}"
    )


def stopped_text(scheduler: str, epoch: int, place: Place | None, reduction: int) -> str:
    """Why a trial scheduler stopped a trial after ``epoch``.

    Args:
        scheduler: its name.
        epoch: 1-based.
        place: where the trial stands at its rung, where there are rungs.
        reduction: one in so many goes on.
    """
    if place is not None:
        return (
            f"place {place.place} of {place.of} so far at epoch {epoch}, 1 in {reduction} goes on"
        )
    if scheduler == "median":
        return f"worse than the median of the others at epoch {epoch}"
    return f"not among the best 1 in {reduction} at epoch {epoch}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"
