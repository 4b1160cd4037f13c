"""Would another choice of OOD validation sets have chosen another trial, and at what loss?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.choice.alternatives import HALF, NUM_SPLITS, halves, representative, worth
from analysis.choice.cells import Cells, Floats, evaluate, set_costs
from analysis.choice.corrected import all_images, pick_on_all, resamples
from analysis.choice.picking import Picks, pick
from analysis.statistics.bootstrap import NUM_RESAMPLES


def stability(
    cells: Cells,
    *,
    num_resamples: int = NUM_RESAMPLES,
    num_splits: int = NUM_SPLITS,
    seed: int = 0,
) -> pd.DataFrame:
    """The selection without each OOD validation set in turn, judged on the set left out.

    Where there is one set only, the selection on random halves of it (and of validation ID), by
    source group, judged on the other halves.

    Args:
        cells: the candidates with their scores.
        num_resamples: bootstrap resamples of the regret's interval, the choices held fixed.
        num_splits: random splits where there is one set, each used both ways.
        seed: of the draws.

    Returns:
        One row a set. Columns: left_out (its name, or "a random half"); trial_id, epoch: chosen
        without it (of halves the most frequent choice); same: share of the selections without
        it that choose what the whole chooses (0 or 1 but for halves); regret, regret_low,
        regret_high: how much worse that choice does on what was left out than the choice by
        all (mean, 95 % interval); fractions of the study's metric, positive is worse.
    """
    chosen = pick_on_all(cells)
    if len(cells.ood_sets) < 2:
        return pd.DataFrame([_by_halves(cells, chosen, num_splits, seed)])
    rows = []
    for name in cells.ood_sets:
        rest = cells.without(name)
        other = pick_on_all(rest)
        low, high = _interval(cells, name, other, chosen, num_resamples, seed)
        values = evaluate(rest, iter([all_images(cells)]))
        trial, cell = representative(rest, values, other)
        whole = set_costs(cells, name, all_images(cells))
        rows.append(
            {
                "left_out": name,
                "trial_id": cells.trial_ids[trial],
                "epoch": int(cells.epoch[cell]),
                "same": float(_cells_of(cells, other) == _cells_of(cells, chosen)),
                "regret": float((worth(cells, whole, other) - worth(cells, whole, chosen))[0]),
                "regret_low": low,
                "regret_high": high,
            }
        )
    return pd.DataFrame(rows)


def _cells_of(cells: Cells, picks: Picks) -> list[int]:
    """The winner's trials at their epochs."""
    return [int(cell) for cell in picks.cell[cells.trials_of(int(picks.winner[0])), 0]]


def _interval(
    cells: Cells, name: str, other: Picks, chosen: Picks, num: int, seed: int
) -> tuple[float, float]:
    """Percentile interval of the regret on one set, both choices held fixed."""
    sides: list[list[Floats]] = [[], []]
    for weights in resamples(cells, num, seed):
        for side, picks in zip(sides, (other, chosen), strict=True):
            costs = set_costs(cells, name, weights, which=_cells_of(cells, picks))
            side.append(costs.mean(axis=0))
    low, high = np.quantile(np.concatenate(sides[0]) - np.concatenate(sides[1]), [0.025, 0.975])
    return float(low), float(high)


def _by_halves(cells: Cells, chosen: Picks, num_splits: int, seed: int) -> dict[str, object]:
    blocks = list(halves(cells, num_splits, seed))
    values = evaluate(cells, iter(blocks))
    picks = pick(cells, values)
    # The other half of split i is half i + num_splits.
    cost = np.roll(values.cost, num_splits, axis=1)
    fixed = Picks(
        np.broadcast_to(chosen.cell, picks.cell.shape),
        picks.cost,
        picks.accuracy,
        picks.eligible,
        np.broadcast_to(chosen.winner, picks.winner.shape),
    )
    regret = worth(cells, cost, picks) - worth(cells, cost, fixed)
    most = int(np.bincount(picks.winner).argmax())
    trial = int(cells.trials_of(most)[0])
    epochs = cells.epoch[picks.cell[trial, picks.winner == most]]
    low, high = np.quantile(regret, [0.025, 0.975])
    return {
        "left_out": HALF,
        "trial_id": cells.trial_ids[trial],
        "epoch": int(np.bincount(epochs).argmax()),
        "same": float(_same(cells, picks, chosen).mean()),
        "regret": float(regret.mean()),
        "regret_low": float(low),
        "regret_high": float(high),
    }


def _same(cells: Cells, picks: Picks, chosen: Picks) -> NDArray[np.bool_]:
    """Whether each weighting takes the same trials at the same epochs as all images do."""
    own = cells.trials_of(int(chosen.winner[0]))
    epochs = (picks.cell[own] == chosen.cell[own]).all(axis=0)
    return np.asarray((picks.winner == chosen.winner[0]) & epochs)
