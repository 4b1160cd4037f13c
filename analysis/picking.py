"""The selection rule, applied to many weightings of the images at once.

Each trial is taken at one of its epochs, each configuration at the mean over its trials; the
best configuration above the floor wins, ties go to the higher AUROC, then to the first trial.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.cells import Cells, Values

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
TieBreak = Callable[[Rows, Rows], Floats]


@dataclass(frozen=True)
class Picks:
    """What the rule takes under each of B weightings.

    Attributes:
        cell: the epoch that stands for each trial, as a cell's number, (T, B).
        cost: of each configuration, mean over its trials, (K, B).
        accuracy: on validation ID, likewise, (K, B).
        eligible: whether the configuration holds the floor, (K, B).
        winner: number of the configuration that wins, (B,).
    """

    cell: Rows
    cost: Floats
    accuracy: Floats
    eligible: NDArray[np.bool_]
    winner: Rows


def pick(
    cells: Cells,
    values: Values,
    *,
    checkpoint: str | None = None,
    seed_weights: Floats | None = None,
    tie_break: TieBreak | None = None,
) -> Picks:
    """Apply the rule to every weighting.

    Args:
        cells: the candidates.
        values: what they are worth, (C, B).
        checkpoint: ``best`` or ``last``, the cells' own where None.
        seed_weights: how often each trial counts in its configuration, (T, B); once where None.
        tie_break: (configurations, weightings) -> cost that decides among equals, each argument
            and the result of shape (n,).

    Returns:
        The picks. Where no configuration holds the floor, the nearest to it wins.
    """
    cell = epochs(cells, values.objective, checkpoint or cells.checkpoint)
    cost = mean_over_trials(cells, taken(values.cost, cell), seed_weights)
    accuracy = mean_over_trials(cells, taken(values.accuracy, cell), seed_weights)
    eligible = accuracy >= values.floor
    return Picks(cell, cost, accuracy, eligible, best(cost, accuracy, eligible, tie_break))


def epochs(cells: Cells, objective: Floats, checkpoint: str) -> Rows:
    """The cell that stands for each trial, (T, B): lowest objective, the earliest of equals."""
    picked = np.empty((len(cells.trial_ids), objective.shape[1]), dtype=np.intp)
    for trial in range(len(cells.trial_ids)):
        own = cells.cells_of(trial)
        last = checkpoint == "last"
        picked[trial] = own[-1] if last else own[np.argmin(objective[own], axis=0)]
    return picked


def taken(values: Floats, cell: Rows) -> Floats:
    """``values`` (C, B) at the picked cells (T, B): (T, B)."""
    return np.take_along_axis(values, cell, axis=0)


def mean_over_trials(cells: Cells, values: Floats, weights: Floats | None = None) -> Floats:
    """Mean of ``values`` (T, B) over the trials of each configuration, (K, B)."""
    if cells.num_configs == len(cells.trial_ids):
        return values
    means = np.empty((cells.num_configs, values.shape[1]))
    for config in range(cells.num_configs):
        own = cells.trials_of(config)
        means[config] = np.average(
            values[own], axis=0, weights=None if weights is None else weights[own]
        )
    return means


def best(
    cost: Floats,
    accuracy: Floats,
    eligible: NDArray[np.bool_],
    tie_break: TieBreak | None = None,
) -> Rows:
    """The winning configuration of each weighting, (B,)."""
    # A configuration under the floor is behind all above it, the nearest miss first.
    keys = np.where(eligible, cost, 2.0 - accuracy)
    lowest = keys.min(axis=0)
    winner = np.argmin(keys, axis=0)
    tied = (keys == lowest) & eligible
    several = np.flatnonzero(tied.sum(axis=0) > 1)
    if tie_break is None or not several.size:
        return winner
    configs, columns = np.nonzero(tied[:, several])
    second = np.full((len(cost), several.size), np.inf)
    second[configs, columns] = tie_break(configs, several[columns])
    winner[several] = np.argmin(second, axis=0)
    return winner
