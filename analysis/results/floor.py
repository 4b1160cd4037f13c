"""Whether the floor on ID accuracy is too tight: who stands above it, and what a lower one buys.

A floor that few trials reach decides by itself what is chosen, and often by luck: it lets through
what looks above it. So every recorded state of every trial, of those that were stopped early too,
is held to floors half a point apart. The best one above each is found on a random half of the
validation images, by source, and judged on the other half, so that no price is one of luck.
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
    NoScores,
    Rows,
    Values,
    all_images,
    cells_of_study,
    costs_of_base,
    weighed,
)
from analysis.choice.corrected import as_metric
from analysis.choice.screened import cells_on_record, screened
from analysis.numbers import listed, metric_label, points
from analysis.tables import Records
from study.counted import counted
from study.scoring.intervals import percentile_interval

STEP = 0.005
STEPS = (2, 1, 0, -1, -2, -3, -4)
"""Floors that are tried, in steps from the study's own."""
SURE = 0.9  # a state that holds the floor so likely is not above it by luck
_FEW = 0.25  # share of trials above the floor under which it is called tight
_FEWEST = 3
_FINEST = 1.0  # standard errors that a floor may lie below the base and still be measured


@dataclass(frozen=True)
class FloorPrices:
    """What stands above the floor, and what other floors would give.

    Attributes:
        table: one row a floor, the highest first: step (above the study's own, a fraction),
            floor, trials (that have a state above it), trial_id, epoch and alpha (of the best
            state above it on all images; missing where there is none), seen (its metric there),
            other (mean metric of the best above it, on the half that did not choose), gain,
            gain_low, gain_high (how much better that is than at the study's own floor; positive
            is better; 95 %).
        metric: whose.
        trials: that were scored.
        above: of these the ones with a state above the study's own floor, the base's own state
            left out.
        sure: of these the ones with a state that holds it with a probability of 90 %.
        error: one standard error of a state's ID accuracy, against the base where the floor hangs
            on it; the median over the states; a fraction.
        below_base: how far the floor lies below the base's accuracy; None where it does not.
        floor: the study's own.
    """

    table: pd.DataFrame
    metric: str
    trials: int
    above: int
    sure: int
    error: float
    below_base: float | None
    floor: float

    @property
    def tight(self) -> bool:
        """Whether few trials stand above the floor."""
        return self.above < max(_FEWEST, _FEW * self.trials)

    @property
    def lines(self) -> list[str]:
        """Sentences: who stands above, what lower floors buy, what to do."""
        head = "Your floor is tight: " if self.tight else ""
        told = (
            f"{head}{self.above} of {counted(self.trials, 'trial')} came above the floor on ID "
            f"accuracy ({self.floor:.4f}); {self.sure} so far that it holds with a probability of "
            f"{100 * SURE:.0f} % or more."
        )
        return [told, *self._bought(), *self._to_do()]

    @property
    def _worth(self) -> pd.DataFrame:
        """Lower floors that surely buy something."""
        return self.table[(self.table["step"] < 0) & (self.table["gain_low"] > 0)]

    def _bought(self) -> list[str]:
        name = metric_label(self.metric, "", short=True)
        lower = self.table[self.table["step"] < 0]
        each = [
            f"{points(row['step'])}: {points(row['gain']).removeprefix('+')} "
            f"[{points(row['gain_low'])}, {points(row['gain_high'])}]"
            for row in lower.to_dict("records")
        ]
        return [f"What a lower floor would buy in {name}, points [95 %]: {listed(each)}."]

    def _to_do(self) -> list[str]:
        told = []
        if self.below_base is not None and self.error * _FINEST > self.below_base > 0:
            told.append(
                f"The floor lies {100 * self.below_base:.1f} points below the base, and one "
                f"standard error of a trial's accuracy against the base's is "
                f"{100 * self.error:.1f}: these images cannot tell who holds it. Give more "
                "validation images (data.val_fraction), or a wider floor."
            )
        if not self.tight:
            return told
        worth = self._worth
        if len(worth):
            step = float(worth["step"].iloc[0])
            told.append(
                f"If {points(-step).removeprefix('+')} points of ID accuracy may be given: "
                f"{self._form(step)}. It is a new question: start a study of its own."
            )
        else:
            told.append(
                "A lower floor would buy nothing sure. Search gentler margins or weights, "
                "or run more trials."
            )
        return told

    def _form(self, step: float) -> str:
        kind, value = "at_least", self.floor + step
        if self.below_base is not None:
            kind, value = "below_base", self.below_base - step
        return f"floor: {{id_accuracy: {{{kind}: {value:.4g}}}}}"


def floor_prices(study: Records, num_splits: int = NUM_SPLITS) -> FloorPrices:
    """Hold every recorded state of every trial that finished or was stopped early to other floors.

    Where no state is above a floor, the base stands in for the choice, and without a base no
    detection at all.

    Args:
        study: its records.
        num_splits: random halves of validation, by source; each chooses, the other one judges.

    Raises:
        NoScores: where the study has no floor, or the per-image scores do not allow it.
    """
    if study.floor is None or study.floor.value <= 0:
        raise NoScores("the study has no floor on ID accuracy")
    names = scored_trials(study)
    states = screened(study, names, lifts=[step * STEP for step in STEPS])
    cells = cells_of_study(study, names, states=states)
    every, whole = cells, weighed(cells, iter([all_images(cells)]))
    if states is not None:
        every, whole = cells_on_record(study, names, cells)
    blocks = list(halves(cells, num_splits, study.seed))
    seen = weighed(cells, iter(blocks))
    hidden, fallback = swapped(seen), costs_of_base(study, cells, blocks[0])
    fallback = np.roll(fallback, num_splits)
    own = _judged(seen, hidden, fallback, 0)
    rows = [
        _row(every, whole, step, own - (judged := _judged(seen, hidden, fallback, step)), judged)
        for step in STEPS
    ]
    trained = every.alpha > 0
    passes = (whole.shortfall[:, 0] == 0) & trained
    likely = (whole.holds[:, 0] >= SURE) & trained
    return FloorPrices(
        pd.DataFrame(rows),
        study.metric,
        len(every.trial_ids),
        len(np.unique(every.trial[passes])),
        len(np.unique(every.trial[likely])),
        float(np.median(whole.error[trained])) if trained.any() else 0.0,
        None if cells.base_correct is None else cells.below_base,
        study.floor.value,
    )


def scored_trials(study: Records) -> list[str]:
    """Trials that finished or were stopped early, with their per-image scores.

    Raises:
        NoScores: where there is none.
    """
    ended = study.trials[study.trials["status"].isin(("finished", "pruned"))]
    found = [str(name) for name in ended["trial_id"] if study.has_scores(str(name))]
    if not found:
        raise NoScores("no trial has per-image scores")
    return found


def _lifted(values: Values, step: int) -> Values:
    return replace(values, floor=values.floor + step * STEP)


def _best(values: Values, step: int) -> tuple[Rows, NDArray[np.bool_]]:
    """The best cell above a floor under each weighting, and whether there is one."""
    passes = _lifted(values, step).shortfall == 0
    return np.argmin(np.where(passes, values.cost, np.inf), axis=0), passes.any(axis=0)


def _judged(seen: Values, hidden: Values, fallback: Floats, step: int) -> Floats:
    """What the best above a floor costs on the half that did not choose, (B,)."""
    cell, some = _best(seen, step)
    return np.where(some, hidden.cost[cell, np.arange(len(cell))], fallback)


def _row(cells: Cells, whole: Values, step: int, gains: Floats, judged: Floats) -> dict[str, Any]:
    (cell,), (some,) = _best(whole, step)
    passes = _lifted(whole, step).shortfall[:, 0] == 0
    low, high = percentile_interval(gains)
    return {
        "step": step * STEP,
        "floor": float(whole.floor[0]) + step * STEP,
        "trials": len(np.unique(cells.trial[passes])),
        "trial_id": cells.trial_ids[cells.trial[cell]] if some else None,
        "epoch": int(cells.epoch[cell]) if some else None,
        "alpha": float(cells.alpha[cell]) if some else np.nan,
        "seen": as_metric(cells, float(whole.cost[cell, 0])) if some else np.nan,
        "other": as_metric(cells, float(judged.mean())),
        "gain": float(gains.mean()),
        "gain_low": low,
        "gain_high": high,
    }
