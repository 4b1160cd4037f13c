"""How long to search: the expected best at each number of trials, as seen and on other images.

A search that goes on always looks better on the images that it chooses by. On images that it did
not choose by it may stand still, or fall: overtuning (Schneider, Bischl and Feurer, "Overtuning in
hyperparameter optimization", AutoML 2025).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.choice.alternatives import NUM_SPLITS, halves, swapped
from analysis.choice.cells import (
    Cells,
    Floats,
    Picks,
    all_images,
    cells_of_study,
    costs_of_base,
    mean_over_trials,
    pick,
    taken,
    weighed,
)
from analysis.choice.confirmation import kept_name
from analysis.choice.corrected import as_metric, resamples
from analysis.choice.screened import screened
from analysis.choice.selection import NoSelection, rank_candidates
from analysis.numbers import metric_label, percent, points
from analysis.statistics.bootstrap import NUM_RESAMPLES
from analysis.tables import Records, under_floor
from study.counted import counted
from study.records.files import KEPT
from study.scoring.intervals import percentile_interval

HALVES = "random halves of validation"
APART = "images kept apart"
COLUMNS = ("trials", "seen", "other", "low", "high", "selected", "held")
_WORTH = 0.005  # of the metric: what a doubling must gain to be worth its time
_RARELY = 1 / 3  # choices above the floor; one that truly lies on it is there in half of the cases
_FEWEST = 4  # trials under which a curve says nothing


@dataclass(frozen=True)
class Budget:
    """The expected best of a study at each number of its trials.

    Attributes:
        table: one row a number of trials: trials; seen (the expected metric of the choice on the
            images that it was made by); other, low, high (on images that it was not made by, with
            95 % interval); selected (chance that some trial may be chosen); held (how often the
            choice, or the base in its place, stands above the floor on those other images).
            Fractions.
        metric: whose.
        where: what the other images are.
        doubled: how much better (positive) all trials do on them than half of the trials, with
            its interval.
        lost: how much worse (positive) all trials do on them than the best number of trials, with
            its interval.
        best: that number.
    """

    table: pd.DataFrame
    metric: str
    where: str
    doubled: tuple[float, float, float]
    lost: tuple[float, float, float]
    best: int

    @property
    def text(self) -> str:
        """Whether more trials would pay, in sentences."""
        last, half = self.table.iloc[-1], self.table.iloc[self.half - 1]
        gain, low, high = map(_plain, self.doubled)
        held = ""
        if last["held"] < 1:  # fewer images measure a floor worse, and what falls under it gains
            held = f" (there above the floor in {percent(last['held'])} % of choices)"
        name = metric_label(self.metric, "", short=True)
        told = (
            f"Expected {name} of the choice on {self.where}: {percent(half['other'])} % "
            f"with {half['trials']:.0f} trials, {percent(last['other'])} % with all "
            f"{last['trials']:.0f}{held}; the doubling gained {gain} points [{low}, {high}]. "
        )
        if self.lost[1] > 0:
            lost, low, high = map(_plain, self.lost)
            return (
                f"{told}Overtuning: it was best with {counted(self.best, 'trial')}, {lost} points "
                f"[{low}, {high}] better than with all. More trials would not pay; more "
                "validation images would."
            )
        if last["held"] < _RARELY:
            return (
                f"{told}Most of these choices fall under the floor: they pay for what they gain "
                "with accuracy. A higher confidence of the floor (floor: {id_accuracy: {..., "
                "confidence: 0.9}}) or more validation images would tell whether more trials pay."
            )
        if self.doubled[1] > 0 and self.doubled[0] >= _WORTH:
            return f"{told}More trials would still pay (--extend adds them)."
        if self.doubled[0] >= _WORTH:
            return f"{told}These images cannot tell whether more trials would pay."
        return f"{told}More trials would hardly pay."

    @property
    def half(self) -> int:
        """Half of the trials."""
        return (len(self.table) + 1) // 2


def _plain(difference: float) -> str:
    return points(difference).removeprefix("+")


def budget_of(study: Records, num_splits: int = NUM_SPLITS) -> Budget:
    """The expected best of a search at each number of trials, in random order.

    Of all trials that ended, each subset of a size is as likely as each other (Dodge et al. 2019,
    arXiv:1909.03004, without replacement); a trial that did not finish cannot be chosen. Where
    none may be, the base stands in for the choice, and without a base no detection at all. A
    searcher that learns gets better as it goes, which a random order does not show: its gain by a
    doubling is rather larger.

    Args:
        study: its records.
        num_splits: random halves of validation, by source; each chooses, the other one judges.
            Where images were kept apart, all others choose and those judge.

    Raises:
        NoSelection: where nothing finished or may be chosen, or the study is an ablation or has
            too few trials.
        NoScores: where the per-image scores do not allow it.
    """
    ended = int(study.trials["status"].isin(("finished", "pruned", "failed")).sum())
    if study.section("ablate") or ended < _FEWEST:
        raise NoSelection(study, f"a curve over trials needs a search of at least {_FEWEST}.")
    candidates = rank_candidates(study)
    names = sorted(name for names in candidates["seed_trials"] for name in names)
    states = screened(study, names)
    cells = cells_of_study(study, names, states=states)
    if any(study.trials.get(kept_name(study.metric), pd.Series(dtype=float)).notna()):
        return _on_kept(study, cells, states is not None, ended)
    blocks = list(halves(cells, num_splits, study.seed))
    chosen = weighed(cells, iter(blocks))
    picks = pick(cells, chosen)
    fallback = costs_of_base(study, cells, blocks[0])
    hidden = swapped(chosen)
    judged = mean_over_trials(cells, taken(hidden.cost, picks.cell))
    held_there = mean_over_trials(cells, taken(hidden.accuracy, picks.cell)) >= hidden.floor
    if states is not None:
        picks, judged, held_there = _with_others(study, cells, picks, judged, held_there, "val")
    seen = expected_best(picks, picks.cost, fallback, ended)
    if not picks.eligible.any():
        raise NoSelection(study, "no trial may be chosen, whatever the budget.")
    other = expected_best(picks, judged, np.roll(fallback, num_splits), ended)
    held = _chances(picks, held_there, 1.0, ended)
    selected = _chances(picks, picks.eligible, 0.0, ended)
    return _budget(study, cells, seen, other, HALVES, selected, held)


def _with_others(
    study: Records,
    cells: Cells,
    picks: Picks,
    judged: Floats,
    held: NDArray[np.bool_],
    prefix: str,
) -> tuple[Picks, Floats, NDArray[np.bool_]]:
    """The same with the candidates whose scores were not read: worth what was recorded of them.

    Args:
        study: its records; none of its trials has another's parameters.
        cells: the candidates that were read.
        picks: of these.
        judged: what they cost the asker, (K, B).
        held: whether they hold the floor there, (K, B).
        prefix: of the columns of what the asker sees, ``val`` or ``confirm``.
    """
    rows = study.trials[study.trials["status"] == "finished"]
    rows = rows[rows[study.metric].notna() & ~rows["trial_id"].isin(cells.trial_ids)]
    floor = -np.inf if cells.floor is None else cells.floor
    seen, there = (
        rows[f"{one}/{cells.metric}"].to_numpy(dtype=np.float64) for one in ("val", prefix)
    )
    right = rows[f"{prefix}/id_accuracy"].to_numpy(dtype=np.float64)

    def added(to: NDArray[Any], column: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([to, np.tile(column[:, None], to.shape[1])])

    lower = cells.sign() > 0
    more = replace(
        picks,
        cost=added(picks.cost, seen if lower else 1 - seen),
        eligible=added(picks.eligible, ~under_floor(study, rows)),
    )
    return more, added(judged, there if lower else 1 - there), added(held, right >= floor)


def _on_kept(study: Records, cells: Cells, screened: bool, ended: int) -> Budget:
    """Chosen on all that the search saw, judged on resamples of the images kept apart."""
    whole = all_images(cells)
    picks = pick(cells, weighed(cells, iter([whole])))
    own = picks.cell[:, 0]
    states = {"trial_id": cells.trial_ids, "epoch": cells.epoch[own], "alpha": cells.alpha[own]}
    kept = cells_of_study(study, [], kept=True, states=pd.DataFrame(states))
    told = weighed(kept, resamples(kept, NUM_RESAMPLES, study.seed))
    judged = mean_over_trials(cells, told.cost)
    held_there = mean_over_trials(cells, told.accuracy) >= told.floor
    if screened:
        found = _with_others(study, cells, picks, judged, held_there, KEPT)
        picks, judged, held_there = found
    seen = expected_best(picks, picks.cost, costs_of_base(study, cells, whole), ended)
    alike = replace(
        picks,
        cost=np.broadcast_to(picks.cost, judged.shape),
        eligible=np.broadcast_to(picks.eligible, judged.shape),
    )
    # The base was not scored on them: where nothing is chosen it is worth what the others saw.
    fallback = np.full(judged.shape[1], costs_of_base(study, cells, whole)[0])
    other = expected_best(alike, judged, fallback, ended)
    held = _chances(alike, held_there, 1.0, ended)
    selected = _chances(alike, alike.eligible, 0.0, ended)
    return _budget(study, cells, seen, other, APART, selected, held)


def expected_best(picks: Picks, worth: Floats, fallback: Floats, num_trials: int) -> Floats:
    """What the best of m random trials is worth, for each m.

    Args:
        picks: the cost by which the best is found, and who may be chosen, (K, B).
        worth: what each configuration is worth to the asker, (K, B).
        fallback: what it is worth to have nothing chosen, (B,).
        num_trials: N, the K configurations and those that cannot be chosen.

    Returns:
        (N, B) for m = 1 to N.
    """
    order = np.argsort(np.where(picks.eligible, picks.cost, np.inf), axis=0, kind="stable")
    ranked = np.take_along_axis(np.where(picks.eligible, worth, fallback), order, axis=0)
    chances = _rank_chances(num_trials, len(worth))
    best: Floats = chances @ ranked + (1 - chances.sum(axis=1, keepdims=True)) * fallback
    return best


def _rank_chances(num: int, ranks: int) -> Floats:
    """Chance that the best of m of ``num`` is the one of rank r, (num, ranks)."""
    chances, m = np.zeros((num, ranks)), np.arange(1, num + 1)
    chance = m / num
    for rank in range(ranks):
        chances[:, rank] = np.where(rank <= num - m, chance, 0.0)
        left = num - rank - 1
        chance = chance * ((left - m + 1) / left if left else 0.0)
    return chances


def _chances(picks: Picks, true: NDArray[np.bool_], of_none: float, num: int) -> Floats:
    """Chance that what is ``true`` of configurations, (K, B), is so of the best of m, (num,)."""
    none = np.full(true.shape[1], of_none)
    chances: Floats = expected_best(picks, true.astype(np.float64), none, num).mean(axis=1)
    return chances


def _budget(
    study: Records,
    cells: Cells,
    seen: Floats,
    other: Floats,
    where: str,
    selected: Floats,
    held: Floats,
) -> Budget:
    num = len(seen)
    rows = []
    for m, (one, two) in enumerate(zip(seen, other, strict=True), start=1):
        ends = sorted(as_metric(cells, end) for end in percentile_interval(two))
        told = (as_metric(cells, float(one.mean())), as_metric(cells, float(two.mean())), *ends)
        rows.append((m, *told, selected[m - 1], held[m - 1]))
    best = int(np.argmin(other.mean(axis=1)))
    half = (num + 1) // 2 - 1
    return Budget(
        pd.DataFrame(rows, columns=list(COLUMNS)),
        study.metric,
        where,
        _with_ends(other[half] - other[-1]),
        _with_ends(other[-1] - other[best]),
        best + 1,
    )


def _with_ends(differences: Floats) -> tuple[float, float, float]:
    return (float(differences.mean()), *percentile_interval(differences))
