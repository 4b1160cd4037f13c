"""Which of very many recorded states may win a selection: their scores are read, no others.

A large study has a hundred thousand states, and all but some hundreds are out of the question
whatever images are drawn. What was recorded of each tells which: how far it lies under the floor,
and how far its cost lies above those that are cheaper and hold it, in standard errors as images
vary. The nearest take part in what is repeated on resamples; the others are left out, and their
files of scores are neither read nor checked. A study with few states leaves out nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from analysis.choice.cells import (
    Cells,
    Floats,
    Rows,
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
from study.scoring.ranking import Weights

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
    known = many_states(study, trial_ids)
    if known is None:
        return None
    ways = [known.way(lift=lift) for lift in lifts]
    return known.table.loc[known.near(ways, MOST // len(lifts)), STATE]


@dataclass(frozen=True)
class Way:
    """What a way to choose goes by, of every state on record.

    Attributes:
        cost: in [0, 1], (N,).
        drawn: the best one's under draws of the images, (B,).
        above: how far each lies above the floor, in its own standard errors, (N,).
        among: which of them it looks at, (N,).
    """

    cost: Floats
    drawn: Floats
    above: Floats
    among: NDArray[np.bool_]


@dataclass(frozen=True)
class ManyStates:
    """All recorded states of some trials, of which few are to be read.

    Attributes:
        table: see ``on_record``.
        errors: standard errors of their distances from the floor, (N,).
        trial: the trial of each where every trial is to keep its best; 0 where the best stay.
        best: the cheapest state above the floor, with its scores.
        draws: of the images, for the size of one state's errors.
        floor: on ID accuracy, minus infinity without one.
        asked: by so many standard errors above the floor.
    """

    table: pd.DataFrame
    errors: Floats
    trial: Rows
    best: Cells
    draws: Sequence[Mapping[str, Weights]]
    floor: float
    asked: float

    def of(self, name: str) -> Floats:
        """A column."""
        return self.table[name].to_numpy(dtype=np.float64)

    @cached_property
    def of_best(self) -> Values:
        """What the best one is worth under each draw."""
        return weighed(self.best, iter(self.draws))

    def way(
        self,
        cost: Floats | None = None,
        drawn: Floats | None = None,
        *,
        lift: float | None = 0.0,
        among: NDArray[np.bool_] | None = None,
    ) -> Way:
        """Choosing by a cost, of the metric where None, above the floor lifted by ``lift``.

        With a ``lift`` of None no floor counts.
        """
        above = np.full(len(self.table), np.inf)
        if lift is not None and np.isfinite(self.floor):
            above = _in(self.of("accuracy") - self.floor - lift, self.errors) - self.asked
        drawn = self.of_best.cost[0] if drawn is None else drawn
        among = np.ones(len(self.table), dtype=np.bool_) if among is None else among
        return Way(self.of("cost") if cost is None else cost, drawn, above, among)

    def near(self, ways: Sequence[Way], most: int) -> NDArray[np.bool_]:
        """Those that come nearest to being chosen by any of the ways, ``most`` of each, (N,)."""
        near = np.zeros(len(self.table), dtype=np.bool_)
        for way in ways:
            cost = _in_errors(way.cost, way.drawn)
            distance = np.empty(len(cost))
            for number in range(int(self.trial.max()) + 1):
                own = way.among & (self.trial == number)
                distance[own] = _distance(cost[own], way.above[own])
            near[_nearest(distance, way.among, most)] = True
        return near

    def near_front(self, front: Rows, among: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
        """Those of ``among`` that come nearest to their ``front`` of cost and accuracy, (N,)."""
        cost = _in_errors(self.of("cost"), self.of_best.cost[0])
        right = self.of("accuracy")
        beaten = np.zeros(len(cost))
        for rival in front:
            less = (right[rival] - right) / np.maximum(self.errors, 1e-12)
            beaten = np.maximum(beaten, np.minimum(cost - cost[rival], less))
        near = np.zeros(len(cost), dtype=np.bool_)
        near[_nearest(beaten, among, most)] = True
        return near

    @property
    def standing(self) -> Floats:
        """What the states of a trial are ordered by, (N,); see ``Values.standing``."""
        cost, accuracy = (self.of(name)[:, None] for name in ("cost", "accuracy"))
        floor, like = np.array([self.floor]), self.best
        errors = self.errors[:, None]
        values = Values(cost, accuracy, floor, errors, like.confidence, like.penalty)
        return values.standing[:, 0]

    def without(self, study: Records, left_out: str) -> Way | None:
        """Choosing without one of the OOD sets; None where the tables do not tell it.

        Of a path they tell of each epoch's best state what each set says; the others are taken to
        lie as far from their mean over all sets as that one does.
        """
        metric = self.best.metric
        rest = [one for one in self.best.ood_sets if one != left_out]
        names = [f"val/{one}/{study.own_score}/{metric}" for one in rest]
        if not set(names) <= set(study.epochs.columns):
            return None
        epochs = study.epochs.set_index(["trial_id", "epoch"])
        gap = epochs[names].mean(axis=1, skipna=False) - epochs[study.metric]
        here = gap.reindex(pd.MultiIndex.from_frame(self.table[["trial_id", "epoch"]])).to_numpy()
        if not np.isfinite(here).all():
            return None
        drawn = weighed(self.best.without(left_out), iter(self.draws)).cost[0]
        return self.way(np.clip(self.of("cost") + self.best.sign() * here, 0.0, 1.0), drawn)


def many_states(
    study: Records, trial_ids: Sequence[str], *, last: bool = True, more: Sequence[str] = ()
) -> ManyStates | None:
    """What is known of the states of some trials; None where all should be read.

    Args:
        study: its records.
        trial_ids: the trials.
        last: by the checkpoint rule "last" each trial's last epoch alone.
        more: further columns of the tables.
    """
    table = on_record(study, trial_ids, last=last, more=more)
    if table is None or len(table) <= MOST:
        return None
    floor = study.floor.value if study.floor else -np.inf
    passes = table["accuracy"] >= floor
    first = (table[passes] if passes.any() else table).nsmallest(1, "cost")
    best = cells_of_study(study, [], states=first)
    draws = list(Resampler(best.groups, _DRAWS, study.seed).weights(list(best.groups)))
    errors = known_errors(table, float(best.errors[0]))
    asked = ndtri(study.floor.confidence) if study.floor and study.floor.confidence else 0.0
    keys = configurations(study, study.trials[study.trials["trial_id"].isin(trial_ids)])
    alone = len(set(keys)) == len(keys)
    trial = np.zeros(len(table), dtype=np.intp) if alone else numbered(list(table["trial_id"]))
    return ManyStates(table, errors, trial, best, draws, floor, float(asked))


def _in_errors(cost: Floats, drawn: Floats) -> Floats:
    """Costs in standard errors of one that was drawn anew."""
    return even(cost) / max(float(even(drawn).std()), 1e-12)


def _nearest(distance: Floats, among: NDArray[np.bool_], most: int) -> Rows:
    """Numbers of the ``most`` nearest ones, of all that lie at no distance."""
    rows = np.flatnonzero(among)
    order = rows[np.argsort(distance[rows], kind="stable")]
    return order[: max(most, int((distance[rows] == 0).sum()))]


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


def on_record(
    study: Records, trial_ids: Sequence[str], *, last: bool = True, more: Sequence[str] = ()
) -> pd.DataFrame | None:
    """What the tables hold of every state of some trials, in the order of cells.

    Args:
        study: its records.
        trial_ids: the trials.
        last: by the checkpoint rule "last" each trial's last epoch alone.
        more: further columns.

    Returns:
        trial_id, epoch, alpha, cost (of the metric, in [0, 1]), accuracy and error (the standard
        error of its distance from the floor; missing where nothing tells it), and what is asked
        for besides; None where the tables lack a trial, or a number.
    """
    names = ["trial_id", "epoch", ALPHA, study.metric, ID_ACCURACY, FLOOR_HOLDS, *more]
    table = study.epochs[study.epochs["trial_id"].isin(trial_ids)]
    if study.has_path:
        paths = study.states[study.states["trial_id"].isin(trial_ids)]
        table = pd.concat([paths, table[~table["trial_id"].isin(paths["trial_id"])]])
    table = table.reindex(columns=list(dict.fromkeys(names)))
    cost, accuracy, *others = (
        table[name].to_numpy(dtype=np.float64) for name in (study.metric, ID_ACCURACY, *more)
    )
    whole = all(np.isfinite(one).all() for one in (cost, accuracy, *others))
    if set(table["trial_id"]) != set(trial_ids) or not whole:
        return None
    cost = cost if direction_of(study.metric) == "min" else 1 - cost
    alpha, error = alphas_of(table), _errors(study, table)
    table = table.assign(alpha=alpha, cost=cost, accuracy=accuracy, error=error)
    if last and study.checkpoint_rule == "last":
        table = table[table["epoch"] == table.groupby("trial_id")["epoch"].transform("max")]
    columns = [*STATE, "cost", "accuracy", "error", *more]
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
