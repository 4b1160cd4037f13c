"""Which of very many recorded states may win a selection: their scores are read, no others.

A large study has a hundred thousand states, and all but some hundreds are out of the question
whatever images are drawn. What was recorded of each tells which: how far it lies under the floor,
and how far its cost lies above those that are cheaper and hold it, in standard errors as images
vary. The nearest take part in what is repeated on resamples; the others are left out, and their
files of scores are neither read nor checked. A study with few states leaves out nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import ndtri

from analysis.choice.cells import (
    Cells,
    Floats,
    Values,
    cells_of_study,
    configurations,
    even,
    numbered,
    weighed,
)
from analysis.statistics.bootstrap import Resampler
from analysis.tables import Records, alphas_of, direction_of
from study.scoring.objective import ALPHA, FLOOR_HOLDS, ID_ACCURACY

MOST = 500
"""States that take part at most."""
STATE = ["trial_id", "epoch", "alpha"]
_DRAWS = 100  # of images, for the size of one state's errors
_SURE = (0.05, 8.0)  # in standard errors: where a probability tells the error


def screened(
    study: Records, trial_ids: Sequence[str], *, lifts: Sequence[float] = (0.0,)
) -> pd.DataFrame | None:
    """The recorded states of some trials that come nearest to being chosen.

    Of configurations with several seeds every trial keeps its best states, whatever the others'.

    Args:
        study: its records.
        trial_ids: the trials.
        lifts: of the floors that they may be chosen under, above the study's own, fractions.

    Returns:
        One row a state: trial_id, epoch, alpha; None where all should be read: there are no more
        than ``MOST``, or the tables do not hold them all.

    Raises:
        NoScores: as ``cells_of_study``, of the best state.
    """
    table = on_record(study, trial_ids)
    if table is None or len(table) <= MOST:
        return None
    floor = study.floor.value if study.floor else -np.inf
    passes = table["accuracy"] >= floor
    first = (table[passes] if passes.any() else table).nsmallest(1, "cost")
    one = cells_of_study(study, [], states=first)
    draws = Resampler(one.groups, _DRAWS, study.seed).weights(list(one.groups))
    sd = float(even(weighed(one, draws).cost[0]).std())
    errors = known_errors(table, float(one.errors[0]))
    asked = ndtri(study.floor.confidence) if study.floor and study.floor.confidence else 0.0
    keys = configurations(study, study.trials[study.trials["trial_id"].isin(trial_ids)])
    alone = len(set(keys)) == len(keys)
    trial = np.zeros(len(table), dtype=np.intp) if alone else numbered(list(table["trial_id"]))
    cost = even(table["cost"].to_numpy()) / max(sd, 1e-12)
    near, above = np.zeros(len(table), dtype=np.bool_), np.zeros(len(table))
    for lift in lifts:
        if study.floor:
            above = _in(table["accuracy"].to_numpy() - floor - lift, errors) - asked
        distance = np.empty(len(table))
        for number in range(int(trial.max()) + 1):
            own = trial == number
            distance[own] = _distance(cost[own], above[own])
        some = max(MOST // len(lifts), int((distance == 0).sum()))
        near[np.argsort(distance, kind="stable")[:some]] = True
    return table.loc[near, STATE]


def _distance(cost: Floats, above: Floats) -> Floats:
    """How far each state is from winning, squared, in standard errors, (N,).

    It wins where it holds the floor and each cheaper one either looks dearer or falls under it.

    Args:
        cost: in standard errors, (N,).
        above: how far each lies above the floor, in its own, (N,).
    """
    order = np.lexsort((-above, cost))
    # Of the cheaper ones those count that lie further above the floor than all that are cheaper.
    highest = np.maximum.accumulate(above[order])
    rivals = order[np.append(True, highest[1:] > highest[:-1])]
    beaten = np.zeros(len(cost))
    for rival in rivals[above[rivals] >= 0]:
        dearer = np.maximum(0.0, cost - cost[rival])
        beaten = np.maximum(beaten, np.minimum(dearer, above[rival]))
    return np.maximum(0.0, -above) ** 2 + beaten**2


def _in(margins: Floats, errors: Floats) -> Floats:
    """Margins in their errors; without an error any margin is sure."""
    out = np.where(margins >= 0, np.inf, -np.inf)
    return np.divide(margins, errors, out=out, where=errors > 0)


def known_errors(table: pd.DataFrame, usual: float) -> Floats:
    """The errors of states ``on_record``, (N,); of those that tell none the others' median.

    Args:
        table: from ``on_record``.
        usual: where none tells it.
    """
    errors = table["error"].fillna(table["error"].median()).fillna(usual)
    return errors.to_numpy(dtype=np.float64)


def on_record(study: Records, trial_ids: Sequence[str]) -> pd.DataFrame | None:
    """What the tables hold of every state of some trials, in the order of cells.

    Returns:
        trial_id, epoch, alpha, cost (of the metric, in [0, 1]), accuracy and error (the standard
        error of its distance from the floor; missing where nothing tells it); None where the
        tables lack a trial, or a number.
    """
    names = ["trial_id", "epoch", ALPHA, study.metric, ID_ACCURACY, FLOOR_HOLDS]
    table = study.epochs[study.epochs["trial_id"].isin(trial_ids)]
    if study.has_path:
        paths = study.states[study.states["trial_id"].isin(trial_ids)]
        table = pd.concat([paths, table[~table["trial_id"].isin(paths["trial_id"])]])
    table = table.reindex(columns=list(dict.fromkeys(names)))
    cost, accuracy = (
        table[name].to_numpy(dtype=np.float64) for name in (study.metric, ID_ACCURACY)
    )
    whole = np.isfinite(cost).all() and np.isfinite(accuracy).all()
    if set(table["trial_id"]) != set(trial_ids) or not whole:
        return None
    cost = cost if direction_of(study.metric) == "min" else 1 - cost
    alpha, error = alphas_of(table), _errors(study, table)
    table = table.assign(alpha=alpha, cost=cost, accuracy=accuracy, error=error)
    if study.checkpoint_rule == "last":
        table = table[table["epoch"] == table.groupby("trial_id")["epoch"].transform("max")]
    columns = [*STATE, "cost", "accuracy", "error"]
    return table[columns].sort_values(STATE, ascending=[True, True, False], ignore_index=True)


def _errors(study: Records, table: pd.DataFrame) -> Floats:
    """The standard errors behind the recorded probabilities that the floor holds, (N,)."""
    if study.floor is None:
        return np.full(len(table), np.nan)
    sure = ndtri(table[FLOOR_HOLDS].to_numpy(dtype=np.float64))
    margin = table[ID_ACCURACY].to_numpy(dtype=np.float64) - study.floor.value
    told = np.abs(sure) > _SURE[0]
    # What is surer than a probability can say has an error of that at most.
    sure = np.clip(sure, -_SURE[1], _SURE[1])
    errors: Floats = np.divide(margin, sure, out=np.full(len(table), np.nan), where=told)
    return errors


def cells_on_record(study: Records, trial_ids: Sequence[str], like: Cells) -> tuple[Cells, Values]:
    """Every recorded state as a cell without scores, and what it is worth on all images.

    Args:
        study: its records.
        trial_ids: whose; of these states were screened.
        like: cells of some of them.
    """
    table = on_record(study, trial_ids)
    assert table is not None, "nothing is screened that is not on record"
    rows = study.trials.set_index("trial_id", drop=False).loc[list(table["trial_id"].unique())]
    errors = known_errors(table, float(np.median(like.errors)))[:, None]
    cells = replace(
        like,
        trial_ids=tuple(rows["trial_id"]),
        config=numbered(configurations(study, rows)),
        trial=numbered(list(table["trial_id"])),
        epoch=table["epoch"].to_numpy(dtype=np.intp),
        alpha=table["alpha"].to_numpy(dtype=np.float64),
        scores={},
        correct=np.empty((len(table), 0), dtype=np.bool_),
    )
    cost, accuracy = (
        table[name].to_numpy(dtype=np.float64)[:, None] for name in ("cost", "accuracy")
    )
    floor = np.array([-np.inf if like.floor is None else like.floor])
    return cells, Values(cost, accuracy, floor, errors, like.confidence, like.penalty)
