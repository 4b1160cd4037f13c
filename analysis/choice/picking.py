"""The selection rule, applied to many weightings of the images at once.

Each trial is taken at one of its epochs, each configuration at the mean over its trials; the
best configuration above the floor wins, ties go to the higher AUROC, then to the first trial.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.choice.cells import Cells, Values

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
CostAt = Callable[[Rows, Rows], Floats]
"""(cells, weightings) -> the cost of each pair, all of shape (n,)."""


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
    tie_cost: CostAt | None = None,
) -> Picks:
    """Apply the rule to every weighting.

    Args:
        cells: the candidates.
        values: what they are worth, (C, B).
        checkpoint: ``best`` or ``last``, the cells' own where None.
        seed_weights: how often each trial counts in its configuration, (T, B); once where None.
        tie_cost: decides among equals; the first trial does where None.

    Returns:
        The picks. Where no configuration holds the floor, the nearest to it wins.
    """
    cell = epochs(cells, values.objective, checkpoint or cells.checkpoint)
    cost = mean_over_trials(cells, taken(values.cost, cell), seed_weights)
    accuracy = mean_over_trials(cells, taken(values.accuracy, cell), seed_weights)
    eligible = accuracy >= values.floor
    # A configuration under the floor is behind all above it, the nearest miss first.
    keys = np.where(eligible, cost, 2.0 - accuracy)
    winner = np.argmin(keys, axis=0)
    if tie_cost is not None:
        _break_ties(cells, winner, (keys == keys.min(axis=0)) & eligible, cell, tie_cost)
    return Picks(cell, cost, accuracy, eligible, winner)


def _break_ties(
    cells: Cells, winner: Rows, tied: NDArray[np.bool_], cell: Rows, tie_cost: CostAt
) -> None:
    """Let the lower ``tie_cost`` win among the configurations that are ``tied`` (K, B)."""
    several = np.flatnonzero(tied.sum(axis=0) > 1)
    if not several.size:
        return
    in_tie = tied[cells.config][:, several]
    trials, columns = np.nonzero(in_tie)
    second = np.full(in_tie.shape, np.inf)
    second[trials, columns] = tie_cost(cell[trials, several[columns]], several[columns])
    winner[several] = np.argmin(mean_over_trials(cells, second), axis=0)


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
