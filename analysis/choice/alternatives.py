"""Other ways to choose, and other OOD validation sets, judged on images that did not choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.choice import screened
from analysis.choice.cells import (
    Cells,
    Floats,
    NoScores,
    Picks,
    Values,
    all_images,
    cells_of_study,
    mean_over_trials,
    pick,
    set_costs,
    taken,
    weighed,
)
from analysis.choice.corrected import as_metric, pick_on_all, resamples
from analysis.choice.pareto import efficient
from analysis.choice.selection import select
from analysis.statistics.bootstrap import NUM_RESAMPLES
from analysis.tables import Records
from study.records.files import VAL_ID
from study.scoring.intervals import Interval, percentile_interval
from study.scoring.measuring import OOD_METRICS
from study.scoring.ranking import Weights
from study.seeding import numpy_generator

STATED = "stated rule"
HALF = "a random half"
RULES = {
    STATED: "the study's own",
    "last epoch": "each trial at its last epoch, then the stated rule",
    "best epoch": "each trial at its best epoch above the floor, then the stated rule",
    "ID accuracy": "the highest ID accuracy over all epochs, no floor",
    "AUROC": "the highest AUROC above the floor, in place of the metric",
    "Pareto knee": "of the front of metric and ID accuracy the point farthest from its chord",
}
"""Ways to choose -> what each does."""
NUM_SPLITS = 100
_AUROC = "val/auroc"


def alternatives_of(study: Records, num_splits: int = NUM_SPLITS) -> pd.DataFrame:
    """``alternatives`` for the candidates of a study."""
    cells, seed = cells_of_rules(study)
    return alternatives(cells, num_splits=num_splits, seed=seed)


def stability_of(study: Records) -> pd.DataFrame:
    """``stability`` for the candidates of a study."""
    cells, seed = cells_of_rules(study)
    return stability(cells, seed=seed)


def cells_of_rules(study: Records) -> tuple[Cells, int]:
    """The cells of every trial that had a part in the selection, and the seed of its draws.

    Of very many those alone that come nearest to being chosen by one of ``RULES``, or without one
    of the OOD sets; a trial that has one of them keeps its last epoch and its best state beside.

    Raises:
        NoSelection: as ``select``.
        NoScores: where the per-image scores of a candidate do not allow it.
    """
    chosen = select(study, 1)
    return cells_of_study(
        study, chosen.compared, states=_states(study, chosen.compared)
    ), chosen.seed


def _states(study: Records, trial_ids: Sequence[str]) -> pd.DataFrame | None:
    """Those states; None where all are read."""
    known = screened.many_states(study, trial_ids, last=False, more=[_AUROC])
    if known is None:
        return None
    table, best = known.table, known.best
    last = (table["epoch"] == table.groupby("trial_id")["epoch"].transform("max")).to_numpy()
    ways = [
        known.way(),
        known.way(among=last),
        known.way(1.0 - known.of("accuracy"), 1.0 - known.of_best.accuracy[0], lift=None),
    ]
    if best.ood_sets:
        each = [
            [set_costs(best, n, one, "auroc")[0] for n in best.ood_sets] for one in known.draws
        ]
        auroc = np.concatenate([np.mean(one, axis=0) for one in each])
        ways.append(known.way(1.0 - known.of(_AUROC), auroc))
    if len(best.ood_sets) > 1 and best.metric in OOD_METRICS:
        without = [known.without(study, name) for name in best.ood_sets]
        if None in without:
            return None
        ways += [one for one in without if one is not None]
    looked_at = last if study.checkpoint_rule == "last" else np.ones_like(last)
    standing = pd.Series(np.where(looked_at, known.standing, np.inf))
    stands = np.zeros_like(last)
    stands[standing.groupby(table["trial_id"]).idxmin()] = True
    points = np.stack([known.of("cost"), -known.of("accuracy")], axis=1)
    front = np.flatnonzero(stands)[efficient(points[stands])]
    near = known.near(ways, screened.MOST // 2)
    near |= known.near_front(front, stands, screened.MOST // 2)
    kept = table["trial_id"].isin(table["trial_id"][near]).to_numpy()
    return table.loc[near | (kept & (last | stands)), screened.STATE]


def alternatives(cells: Cells, *, num_splits: int = NUM_SPLITS, seed: int = 0) -> pd.DataFrame:
    """Each way to choose on all of validation, and its regret against each other on halves.

    Validation is split into random halves ``num_splits`` times, every set by source group; each
    rule chooses epoch and trial on one half and is judged on the other, and the other way round.

    Args:
        cells: the candidates with their scores.
        num_splits: random splits, each used both ways.
        seed: of the splits.

    Returns:
        One row a rule. Columns: rule (a key of ``RULES``); trial_id, epoch, alpha: its choice on
        all images (of a configuration with several seeds the median one); value (of the study's
        metric), id_accuracy: on all images, means over its seeds; held_back: mean over the
        halves of the metric on the half that it did not see; floor_kept: share of them where
        its choice holds the floor there; and for each rule r: ``regret/r``, ``regret/r_low``,
        ``regret/r_high``: how much worse than r it does on the half held back (mean, and the
        2.5 % and 97.5 % quantiles over the halves, which vary as much as full-sized samples
        do: a delete-half jackknife). All are fractions; a positive regret is worse.

    Raises:
        NoScores: where a set has a single source and cannot be split.
    """
    whole = weighed(cells, iter([all_images(cells)]))
    on_all = _picks(cells, whole, all_images(cells))
    blocks = list(halves(cells, num_splits, seed))
    seen = weighed(cells, iter(blocks))
    hidden = swapped(seen)
    chosen = _picks(cells, seen, blocks[0])
    judged = {rule: worth(cells, hidden.cost, one) for rule, one in chosen.items()}
    rows = []
    for rule, one in on_all.items():
        trial, cell = representative(cells, whole, one)
        kept = worth(cells, hidden.accuracy, chosen[rule]) >= hidden.floor
        rows.append(
            {
                "rule": rule,
                "trial_id": cells.trial_ids[trial],
                "epoch": int(cells.epoch[cell]),
                "alpha": float(cells.alpha[cell]),
                "value": as_metric(cells, float(worth(cells, whole.cost, one)[0])),
                "id_accuracy": float(worth(cells, whole.accuracy, one)[0]),
                "held_back": as_metric(cells, float(judged[rule].mean())),
                "floor_kept": float(kept.mean()),
                **_regrets(judged, rule),
            }
        )
    return pd.DataFrame(rows)


def _regrets(judged: Mapping[str, Floats], rule: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for other, cost in judged.items():
        found |= _mean_and_ends(f"regret/{other}", judged[rule] - cost)
    return found


def _mean_and_ends(name: str, values: Floats) -> dict[str, float]:
    low, high = percentile_interval(values)
    return {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}


def _picks(cells: Cells, values: Values, weights: Mapping[str, Weights]) -> dict[str, Picks]:
    """What every rule takes under each weighting."""
    no_floor = np.full_like(values.floor, -np.inf)
    plain = replace(values, cost=1.0 - values.accuracy, floor=no_floor, confidence=None)
    ranked = values
    if cells.ood_sets and cells.metric != "auroc":
        per_set = [set_costs(cells, name, weights, "auroc") for name in cells.ood_sets]
        ranked = replace(values, cost=np.mean(per_set, axis=0))
    return {
        STATED: pick(cells, values),
        "last epoch": pick(cells, values, checkpoint="last"),
        "best epoch": pick(cells, values, checkpoint="best"),
        "ID accuracy": pick(cells, plain, checkpoint="best"),
        "AUROC": pick(cells, ranked, checkpoint="best"),
        "Pareto knee": _knee(pick(cells, values)),
    }


def _knee(picks: Picks) -> Picks:
    """The same trials and epochs; the winner is the knee of each weighting's front."""
    each = zip(picks.cost.T, picks.accuracy.T, strict=True)
    return replace(picks, winner=np.array([knee(*one) for one in each], dtype=np.intp))


def knee(cost: Floats, accuracy: Floats) -> int:
    """The front's point farthest below the line between its ends; of two points the cheaper.

    Args:
        cost: (K,), lower is better.
        accuracy: (K,), higher is better.
    """
    points = np.stack([cost, 1.0 - accuracy], axis=1)
    front = np.flatnonzero(efficient(points))
    span = np.ptp(points[front], axis=0)
    if len(front) < 2 or not span.all():
        return int(front[0])
    scaled = (points[front] - points[front].min(axis=0)) / span
    # The line runs from (0, 1) to (1, 0); equal distances go to the lower cost.
    order = np.lexsort((cost[front], scaled.sum(axis=1).round(12)))
    return int(front[order[0]])


def worth(cells: Cells, values: Floats, picks: Picks) -> Floats:
    """``values`` (C, B) of the winner of each weighting, mean over its trials, (B,)."""
    means = mean_over_trials(cells, taken(values, picks.cell))
    return means[picks.winner, np.arange(len(picks.winner))]


def representative(cells: Cells, values: Values, picks: Picks) -> tuple[int, int]:
    """Trial and cell that stand for the winner of the first weighting: the median one's.

    Of an even number the worse of the middle two.
    """
    own = cells.trials_of(int(picks.winner[0]))
    order = own[np.argsort(values.cost[picks.cell[own, 0], 0], kind="stable")]
    trial = int(order[len(order) // 2])
    return trial, int(picks.cell[trial, 0])


def halves(cells: Cells, num_splits: int, seed: int) -> Iterator[dict[str, Weights]]:
    """One block of 2 x ``num_splits`` random halves, by source group; a half, then the rest.

    Raises:
        NoScores: where a set has a single source.
    """
    sides: dict[str, Weights] = {}
    for name, labels in cells.groups.items():
        distinct, group = np.unique(labels, return_inverse=True)
        if distinct.size < 2:
            raise NoScores(f"{name} has a single source, so it cannot be split into halves")
        rng = numpy_generator(seed, "halves", name)
        order = rng.permuted(np.tile(np.arange(distinct.size), (num_splits, 1)), axis=1)
        first = (order < distinct.size // 2)[:, group]
        sides[name] = Weights.of(np.concatenate([first, ~first]).astype(np.int32))
    yield {VAL_ID: sides.pop(VAL_ID), **sides}


def swapped(values: Values) -> Values:
    """What cells are worth on the other one of each pair of ``halves``."""
    half = values.cost.shape[1] // 2
    return replace(
        values,
        cost=np.roll(values.cost, half, axis=1),
        accuracy=np.roll(values.accuracy, half, axis=1),
        floor=np.roll(values.floor, half),
        error=np.roll(values.error, half, axis=1),
    )


def stability(
    cells: Cells,
    *,
    num_resamples: int = NUM_RESAMPLES,
    num_splits: int = NUM_SPLITS,
    seed: int = 0,
) -> pd.DataFrame:
    """The selection without each OOD validation set in turn, judged on the set left out.

    Where there is one set only, or the metric is ID accuracy, which no OOD set is asked for, the
    selection on random halves of all sets, by source group, judged on the other halves.

    Args:
        cells: the candidates with their scores.
        num_resamples: bootstrap resamples of the regret's interval, the choices held fixed.
        num_splits: random splits where halves are taken, each used both ways.
        seed: of the draws.

    Returns:
        One row a set. Columns: left_out (its name, or "a random half"); trial_id, epoch: chosen
        without it (of halves the most frequent choice); same: share of the selections without
        it that choose what the whole chooses (0 or 1 but for halves); regret, regret_low,
        regret_high: how much worse that choice does on what was left out than the choice by
        all (mean, 95 % interval); fractions of the study's metric, positive is worse.
    """
    chosen = pick_on_all(cells)
    if len(cells.ood_sets) < 2 or cells.metric == "id_accuracy":
        return pd.DataFrame([_by_halves(cells, chosen, num_splits, seed)])
    rows = []
    for name in cells.ood_sets:
        rest = cells.without(name)
        other = pick_on_all(rest)
        low, high = _fixed_interval(cells, name, other, chosen, num_resamples, seed)
        values = weighed(rest, iter([all_images(cells)]))
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


def _fixed_interval(
    cells: Cells, name: str, other: Picks, chosen: Picks, num: int, seed: int
) -> Interval:
    """Of the regret on one set, both choices held fixed."""
    sides: list[list[Floats]] = [[], []]
    for weights in resamples(cells, num, seed):
        for side, picks in zip(sides, (other, chosen), strict=True):
            costs = set_costs(cells, name, weights, which=_cells_of(cells, picks))
            side.append(costs.mean(axis=0))
    return percentile_interval(np.concatenate(sides[0]) - np.concatenate(sides[1]))


def _by_halves(cells: Cells, chosen: Picks, num_splits: int, seed: int) -> dict[str, object]:
    blocks = list(halves(cells, num_splits, seed))
    values = weighed(cells, iter(blocks))
    picks = pick(cells, values)
    fixed = replace(
        picks,
        cell=np.broadcast_to(chosen.cell, picks.cell.shape),
        winner=np.broadcast_to(chosen.winner, picks.winner.shape),
    )
    cost = swapped(values).cost
    most = int(np.bincount(picks.winner).argmax())
    trial = int(cells.trials_of(most)[0])
    epochs = cells.epoch[picks.cell[trial, picks.winner == most]]
    return {
        "left_out": HALF,
        "trial_id": cells.trial_ids[trial],
        "epoch": int(np.bincount(epochs).argmax()),
        "same": float(_same(cells, picks, chosen).mean()),
        **_mean_and_ends("regret", worth(cells, cost, picks) - worth(cells, cost, fixed)),
    }


def _same(cells: Cells, picks: Picks, chosen: Picks) -> NDArray[np.bool_]:
    """Whether each weighting takes the same trials at the same epochs as all images do."""
    own = cells.trials_of(int(chosen.winner[0]))
    epochs = (picks.cell[own] == chosen.cell[own]).all(axis=0)
    return np.asarray((picks.winner == chosen.winner[0]) & epochs)
