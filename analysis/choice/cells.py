"""What a selection chooses among: every recorded state of every candidate, with its scores.

A cell is one state of one trial: an epoch, and a place on the path from the base. Trials with
the same parameters and other seeds make up one configuration; a search has one trial a
configuration, an ablation has one a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from analysis.tables import BASE, Records
from study.errors import BadInput, StudyFailed
from study.records.files import VAL_ID
from study.records.scores import SetScores, ValidationScores
from study.scoring.floor import standard_error
from study.scoring.measuring import weighted_metrics
from study.scoring.metrics import METRICS
from study.scoring.ranking import Weights

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
_UNDER = 1e6  # more than any objective: under the floor comes behind above it


class NoScores(StudyFailed):
    """The per-image scores do not allow it; the message says why. Exit code 1."""


@dataclass(frozen=True)
class Cells:
    """The candidates' scores on the validation images.

    Attributes:
        trial_ids: candidates, by rising id, T of them.
        config: configuration of each trial, (T,), numbered by their first trial.
        trial: number of the trial of each cell, (C,); the cells of a trial are together.
        epoch: epoch of each cell, (C,), rising within a trial.
        alpha: place of each cell on the path, (C,), falling within an epoch: of equals the one
            nearest to what was trained counts.
        scores: set name -> (C, N) scores, higher = more OOD.
        correct: whether the prediction of a validation ID image is right, (C, N).
        groups: set name -> source group of each image, (N,).
        floor: least ID accuracy, None where there is none.
        base_correct: the base's, (N,), where the floor moves with the base's accuracy.
        below_base: how far the floor lies below that.
        metric: to select by, of ``study.scoring.metrics``.
        checkpoint: ``best`` or ``last``.
        confidence: with which the floor must hold; None where the accuracy must reach it.
        penalty: of the shortfall, see ``study.scoring.objective``.
    """

    trial_ids: tuple[str, ...]
    config: Rows
    trial: Rows
    epoch: Rows
    alpha: Floats
    scores: Mapping[str, NDArray[np.float64]]
    correct: NDArray[np.bool_]
    groups: Mapping[str, NDArray[np.bytes_]]
    floor: float | None = None
    base_correct: NDArray[np.bool_] | None = None
    below_base: float = 0.0
    metric: str = "fpr95"
    checkpoint: str = "best"
    confidence: float | None = None
    penalty: float | None = None

    @cached_property
    def errors(self) -> Floats:
        """Standard error of each cell's ID accuracy, against the base's where it counts, (C,)."""
        group = np.unique(self.groups[VAL_ID], return_inverse=True)[1]
        than = 0.0 if self.base_correct is None else self.base_correct.astype(np.float64)
        return np.array([standard_error(one - than, group) for one in self.correct])

    @property
    def ood_sets(self) -> tuple[str, ...]:
        """Names of the OOD validation sets."""
        return tuple(name for name in self.scores if name != VAL_ID)

    @property
    def num_configs(self) -> int:
        """Number of configurations, K."""
        return int(self.config.max()) + 1

    def trials_of(self, config: int) -> Rows:
        """Numbers of the trials of a configuration."""
        return np.flatnonzero(self.config == config)

    def only(self, which: Rows) -> Cells:
        """The same with some of the cells; every trial must keep one."""
        return replace(
            self,
            trial=self.trial[which],
            epoch=self.epoch[which],
            alpha=self.alpha[which],
            scores={name: scores[which] for name, scores in self.scores.items()},
            correct=self.correct[which],
        )

    def without(self, ood_set: str) -> Cells:
        """The same without an OOD validation set."""
        return replace(self, scores={n: s for n, s in self.scores.items() if n != ood_set})

    def sign(self, metric: str | None = None) -> float:
        """1 where lower is better, else -1."""
        return 1.0 if METRICS[metric or self.metric].better == "lower" else -1.0


@dataclass(frozen=True)
class Values:
    """What the cells are worth under B weightings of the images.

    Attributes:
        cost: of the metric to select by, lower = better, in [0, 1], (C, B).
        accuracy: on validation ID, (C, B).
        floor: under each weighting, (B,); minus infinity without one.
        error: standard error of the accuracy's distance from the floor, (C, B).
        confidence: with which the floor must hold; None where the accuracy must reach it.
        penalty: of the shortfall, see ``study.scoring.objective``.
    """

    cost: Floats
    accuracy: Floats
    floor: Floats
    error: Floats
    confidence: float | None = None
    penalty: float | None = None

    @property
    def shortfall(self) -> Floats:
        """How far each cell lies under what the floor asks of it, (C, B); 0 where it passes."""
        asked = 0.0 if self.confidence is None else float(ndtri(self.confidence)) * self.error
        return np.maximum(0.0, self.floor + asked - self.accuracy)

    @property
    def holds(self) -> Floats:
        """Probability that the floor holds for each cell, (C, B); ``study.scoring.floor``."""
        margin = self.accuracy - self.floor
        sure = np.where(margin >= 0, np.inf, -np.inf)
        return np.asarray(ndtr(np.divide(margin, self.error, out=sure, where=self.error > 0)))

    @property
    def objective(self) -> Floats:
        """``val/objective`` of each cell, (C, B)."""
        short = self.shortfall
        if self.penalty is None:
            return np.where(short > 0, 1.0 + short, self.cost)
        return self.cost + 100 * short * self.penalty

    @property
    def standing(self) -> Floats:
        """What the cells of a trial are ordered by, (C, B): the floor first, then objective."""
        return np.where(self.shortfall > 0, _UNDER, 0.0) + self.objective


def weighed(cells: Cells, draws: Iterator[Mapping[str, Weights]]) -> Values:
    """Worth of every cell under all weightings of ``draws`` (set name -> weights, in blocks)."""
    blocks = [_block(cells, weights) for weights in draws]
    return replace(
        blocks[0],
        cost=np.concatenate([one.cost for one in blocks], axis=1),
        accuracy=np.concatenate([one.accuracy for one in blocks], axis=1),
        floor=np.concatenate([one.floor for one in blocks]),
        error=np.concatenate([one.error for one in blocks], axis=1),
    )


def _block(cells: Cells, weights: Mapping[str, Weights]) -> Values:
    ours = weights[VAL_ID]
    accuracy = accuracies(cells.correct, ours)
    if cells.metric == "id_accuracy":
        cost = 1.0 - accuracy
    else:
        cost = np.mean([set_costs(cells, name, weights) for name in cells.ood_sets], axis=0)
    floor = np.full(ours.num, -np.inf if cells.floor is None else cells.floor)
    if cells.base_correct is not None:  # it hangs on the base and moves with it
        floor = accuracies(cells.base_correct[None], ours)[0] - cells.below_base
    # A weighting of fewer images tells less; that some count twice is in the accuracy itself.
    error = cells.errors[:, None] * np.sqrt(len(cells.groups[VAL_ID]) / ours.totals)
    return Values(cost, accuracy, floor, error, cells.confidence, cells.penalty)


def all_images(cells: Cells) -> dict[str, Weights]:
    """Every image once."""
    return {name: Weights.once(len(group)) for name, group in cells.groups.items()}


def even(cost: Floats) -> Floats:
    """asin(sqrt(cost)): a fraction's errors are about as large everywhere on this scale."""
    return np.asarray(np.arcsin(np.sqrt(np.clip(cost, 0.0, 1.0))), dtype=np.float64)


def accuracies(correct: NDArray[np.bool_], weights: Weights) -> Floats:
    """Accuracy under each weighting, (C, B), of predictions (C, N)."""
    return np.asarray(correct.astype(np.float32) @ weights.rows / weights.totals, np.float64)


def set_costs(
    cells: Cells,
    name: str,
    weights: Mapping[str, Weights],
    metric: str | None = None,
    which: Sequence[int] | Rows | None = None,
) -> Floats:
    """Cost of a metric (the cells' own where None) of some cells on one OOD set, (C, B)."""
    metric = metric or cells.metric
    which = range(len(cells.trial)) if which is None else which
    id_scores, scores = cells.scores[VAL_ID], cells.scores[name]
    pair = weights[VAL_ID], weights[name]
    values = np.stack(
        [weighted_metrics(id_scores[c], scores[c], *pair, [metric])[metric] for c in which]
    )
    return np.asarray(values if cells.sign(metric) > 0 else 1.0 - values, dtype=np.float64)


def configurations(study: Records, trials: pd.DataFrame) -> list[Hashable]:
    """What tells the configuration of each of ``trials``: the arm, or all parameters.

    Trials without parameters on record are each their own.
    """
    if study.section("ablate") and "arm" in trials.columns:
        return [str(arm) for arm in trials["arm"]]
    columns = [name for name in trials.columns if name.startswith("param/")]
    if not columns:
        return [str(name) for name in trials["trial_id"]]
    return [tuple(str(value) for value in row) for row in trials[columns].to_numpy(dtype=object)]


def numbered(keys: Sequence[Hashable]) -> Rows:
    """The same keys as numbers, in order of first appearance."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)


def cells_of_study(
    study: Records,
    trial_ids: Sequence[str],
    *,
    kept: bool = False,
    states: pd.DataFrame | None = None,
) -> Cells:
    """The cells of a study's candidates.

    Args:
        study: its records.
        trial_ids: the candidates.
        kept: on the images kept apart, where each epoch has its best state alone.
        states: these alone are read, and their trials: trial_id, epoch, alpha (of what is kept
            apart any); all where None.

    Raises:
        NoScores: where a candidate's scores are missing, torn, not finite, or of other images.
    """
    wanted = None if states is None else {str(n): one for n, one in states.groupby("trial_id")}
    names = sorted(trial_ids) if wanted is None else sorted(wanted)
    rows = study.trials.set_index("trial_id", drop=False).loc[names]
    loaded = [
        _nearest_first(_load(study, name, kept, None if wanted is None else wanted[name]))
        for name in map(str, rows["trial_id"])
    ]
    _check_alike(study, list(rows["trial_id"]), loaded)
    sets = loaded[0].sets
    score = study.own_score
    counts = [len(one.epochs) for one in loaded]
    base, below = moving_floor(study, sets)
    return Cells(
        tuple(str(name) for name in rows["trial_id"]),
        numbered(configurations(study, rows)),
        np.repeat(np.arange(len(loaded)), counts),
        np.concatenate([one.epochs for one in loaded]).astype(np.intp),
        np.concatenate([one.alphas for one in loaded]),
        {name: np.concatenate([one.sets[name].scores[score] for one in loaded]) for name in sets},
        np.concatenate([one.sets[VAL_ID].prediction for one in loaded]) == sets[VAL_ID].label,
        {name: one.group for name, one in sets.items()},
        None if study.floor is None else study.floor.value,
        base,
        below,
        study.metric.removeprefix("val/"),
        study.checkpoint_rule,
        study.floor.confidence if study.floor else None,
        study.section("select").get("penalty"),
    )


def _nearest_first(scores: ValidationScores) -> ValidationScores:
    """The states by epoch, within an epoch the trained weights first."""
    return scores.cut(np.lexsort((-scores.alphas, scores.epochs)))


def _those(scores: ValidationScores, states: pd.DataFrame) -> ValidationScores:
    """Some states alone."""
    places = {(int(e), round(float(a), 9)) for e, a in states[["epoch", "alpha"]].to_numpy()}
    every = zip(scores.epochs, scores.alphas, strict=True)
    return scores.cut(np.array([(int(e), round(float(a), 9)) in places for e, a in every]))


def cells_of_base(study: Records, cells: Cells) -> Cells | None:
    """The base as the one candidate on the images of ``cells``; None where it was not scored so.

    Where arms start from several bases there is no such one.
    """
    try:
        sets = study.scores(BASE).sets
        right = sets[VAL_ID].prediction[-1:] == sets[VAL_ID].label
        scores = {name: sets[name].scores[study.own_score][-1:] for name in cells.scores}
    except (BadInput, KeyError):
        return None
    sizes = {name: one.shape[1] for name, one in scores.items()}
    if sizes != {name: len(group) for name, group in cells.groups.items()}:
        return None
    one = np.zeros(1, dtype=np.intp)
    return replace(
        cells, trial_ids=(BASE,), config=one, trial=one, epoch=one, alpha=np.zeros(1),
        scores=scores, correct=right,
    )  # fmt: skip


def costs_of_base(study: Records, cells: Cells, weights: Mapping[str, Weights]) -> Floats:
    """The base's cost under each weighting, (B,); 1, as of no detection, where it has no score."""
    base = cells_of_base(study, cells)
    if base is None:
        return np.ones(weights[VAL_ID].num)
    cost: Floats = weighed(base, iter([weights])).cost[0]
    return cost


def _load(
    study: Records, trial_id: str, kept: bool, states: pd.DataFrame | None
) -> ValidationScores:
    epochs = None if states is None else {int(epoch) for epoch in states["epoch"]}
    try:
        scores = study.scores(trial_id, kept=kept, epochs=epochs, score=study.own_score)
        scores = scores if states is None or kept else _those(scores, states)
    except BadInput as error:
        if study.is_sealed(trial_id):  # they were changed: nothing may be told of them
            raise
        raise NoScores(str(error)) from error
    name, score = f"scores/{trial_id}.npz", study.own_score
    for set_name, one in scores.sets.items():
        if score not in one.scores:
            raise NoScores(f"{name}: {set_name} has no {score} scores")
        if bad := int((~np.isfinite(one.scores[score])).sum()):
            raise NoScores(f"{name}: {bad} {score} scores of {set_name} are not finite numbers")
    if VAL_ID not in scores.sets or not len(scores.epochs):
        raise NoScores(f"{name}: it holds no epoch scored on validation ID images")
    return scores


def _check_alike(study: Records, names: Sequence[str], loaded: list[ValidationScores]) -> None:
    first = loaded[0].sets
    for trial_id, one in zip(names, loaded, strict=True):
        if set(one.sets) != set(first) or not all(
            getattr(one.sets[name], what) is getattr(first[name], what)
            or np.array_equal(getattr(one.sets[name], what), getattr(first[name], what))
            for name in first
            for what in ("image", "label", "group")
        ):
            rule = f"scores/{trial_id}.npz and scores/{names[0]}.npz are of other images"
            raise NoScores(f"{rule}, so the two trials cannot be compared image by image")
    if len(first) < 2 and study.metric != "val/id_accuracy":
        raise NoScores("no OOD validation set was scored")


def moving_floor(
    study: Records, sets: Mapping[str, SetScores]
) -> tuple[NDArray[np.bool_] | None, float]:
    """The base's right predictions and the distance below; none where the floor stands still."""
    floor = study.floor
    told = (study.section("select").get("floor") or {}).get("id_accuracy")
    hangs = isinstance(told, Mapping) and "below_base" in told
    if floor is None or not hangs or not study.has_scores(BASE):
        return None, 0.0
    try:
        one = study.scores(BASE).sets[VAL_ID]
    except (BadInput, KeyError):
        return None, 0.0
    if not np.array_equal(one.image, sets[VAL_ID].image):
        return None, 0.0
    correct = one.prediction[-1] == one.label
    return correct, float(correct.mean()) - floor.value


CostAt = Callable[[Rows, Rows], Floats]
"""(cells, weightings) -> the cost of each pair, all of shape (n,)."""


@dataclass(frozen=True)
class Picks:
    """What the rule takes under each of B weightings.

    Attributes:
        cell: the state that stands for each trial, as a cell's number, (T, B).
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
    among: NDArray[np.bool_] | None = None,
) -> Picks:
    """Apply the rule to every weighting.

    Args:
        cells: the candidates.
        values: what they are worth, (C, B).
        checkpoint: ``best`` or ``last``, the cells' own where None.
        seed_weights: how often each trial counts in its configuration, (T, B); once where None.
        tie_cost: decides among equals; the first trial does where None.
        among: the configurations that may win, (K, B); all where None, or where none may.

    Returns:
        The picks. Where no configuration holds the floor, the nearest to it wins.
    """
    cell = _states(cells, values.standing, checkpoint or cells.checkpoint)
    cost = mean_over_trials(cells, taken(values.cost, cell), seed_weights)
    accuracy = mean_over_trials(cells, taken(values.accuracy, cell), seed_weights)
    eligible = accuracy >= values.floor
    if values.confidence is not None:
        holds = mean_over_trials(cells, taken(values.holds, cell), seed_weights)
        eligible = holds >= values.confidence
    # A configuration under the floor is behind all above it, the nearest miss first.
    keys = np.where(eligible, cost, 2.0 - accuracy)
    if among is not None:
        keys = np.where(among | ~among.any(axis=0), keys, np.inf)
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


def _states(cells: Cells, standing: Floats, checkpoint: str) -> Rows:
    """The cell that stands for each trial, (T, B): the best, the first of equals."""
    picked = np.empty((len(cells.trial_ids), standing.shape[1]), dtype=np.intp)
    for trial in range(len(cells.trial_ids)):
        own = np.flatnonzero(cells.trial == trial)
        if checkpoint == "last":
            own = own[cells.epoch[own] == cells.epoch[own[-1]]]
        picked[trial] = own[np.argmin(standing[own], axis=0)]
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
