"""How surely the floor on ID accuracy holds, trial by trial, and how far a state may lie under it.

A trial that looks above the floor may look so by luck, and a selection prefers those that do. The
probability is the one that the study goes by where its floor has a confidence
(`study.scoring.floor`): paired with the base by source where the floor hangs on the base. Older
runs did not record it; there it is computed from the per-image scores in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist

import numpy as np
import pandas as pd

from analysis.choice.cells import moving_floor
from analysis.choice.selection import place_in, scores_at
from analysis.numbers import hundredths, percent
from analysis.tables import Records
from study.errors import BadInput
from study.records.files import VAL_ID
from study.records.scores import SetScores
from study.scoring.floor import Floor, standard_error
from study.scoring.objective import FLOOR_HOLDS, ID_ACCURACY

_NORMAL = NormalDist()
_TOLD = 1e-4  # of ID accuracy: nearer to the floor its probability is rounded too much
HELD = ("floor_holds", "floor_shortfall")
"""Columns of candidates: the probability, and the expected shortfall."""


def held_trials(study: Records, trial_ids: Sequence[str] | None = None) -> pd.DataFrame:
    """How surely each trial holds the floor, at the state that stands for it.

    Args:
        study: its records.
        trial_ids: of its trials; all that have an ID accuracy where None.

    Returns:
        One row a trial: trial_id, status, epoch, the study's detection metric, val/id_accuracy,
        holds (probability that the true accuracy reaches the floor) and shortfall (how far it is
        expected to lie under it, a fraction: 0 for what surely holds). Both are missing without
        per-image scores. No rows for a study without a floor.
    """
    names = ["trial_id", "status", "checkpoint_epoch", study.detection_metric, ID_ACCURACY]
    rows = study.trials
    if not study.floor or not set(names) <= set(rows.columns):
        return pd.DataFrame(columns=["trial_id", "status", "epoch", "holds", "shortfall"])
    rows = rows[rows[names].notna().all(axis=1)]
    if trial_ids is not None:
        rows = rows[rows["trial_id"].isin(trial_ids)]
    told = rows[FLOOR_HOLDS] if FLOOR_HOLDS in rows.columns else pd.Series(np.nan, rows.index)
    table = rows[names].rename(columns={"checkpoint_epoch": "epoch"}).reset_index(drop=True)
    found = pd.DataFrame(_judged(study, rows), columns=["holds", "shortfall"], dtype="float64")
    found["holds"] = told.reset_index(drop=True).fillna(found["holds"])
    return table.join(found)


def with_held(study: Records, candidates: pd.DataFrame) -> pd.DataFrame:
    """Candidates of a selection with how surely each holds the floor.

    Args:
        study: its records.
        candidates: from ``analysis.choice.selection.rank_candidates``.

    Returns:
        The same with floor_holds and floor_shortfall, see ``held_trials``, means over a
        candidate's seeds; both missing where the study has no floor.
    """
    names = [name for names in candidates["seed_trials"] for name in names]
    found = held_trials(study, names).set_index("trial_id")[["holds", "shortfall"]]
    each = candidates["seed_trials"].explode().map(str)
    means = found.reindex(each).set_axis(each.index).groupby(level=0, sort=False).mean()
    return candidates.assign(floor_holds=means["holds"], floor_shortfall=means["shortfall"])


def held_text(floor_holds: float, floor_shortfall: float) -> str:
    """How surely a floor holds, for readers; empty where it is not known."""
    if math.isnan(floor_holds):
        return ""
    told = f"The floor holds with a probability of {percent(floor_holds)} %"
    if math.isnan(floor_shortfall):
        return told
    return f"{told}; expected shortfall {hundredths(floor_shortfall)} points"


def _judged(study: Records, rows: pd.DataFrame) -> Iterator[tuple[float, float]]:
    """Probability and expected shortfall of each trial; not numbers without its scores."""
    assert study.floor is not None, "only a floor can be held"
    for _, row in rows.iterrows():
        margin = float(row[ID_ACCURACY]) - study.floor.value
        holds = row.get(FLOOR_HOLDS, math.nan)
        if 0 < holds < 1 and abs(margin) > _TOLD:  # the probability tells the error behind it
            yield holds, expected_shortfall(margin, margin / _NORMAL.inv_cdf(holds))
            continue
        try:
            yield _of_scores(study, scores_at(study, *place_in(row)))
        except (BadInput, KeyError):
            yield math.nan, math.nan


def _of_scores(study: Records, sets: Mapping[str, SetScores]) -> tuple[float, float]:
    assert study.floor is not None, "only a floor can be held"
    one, (base, _) = sets[VAL_ID], moving_floor(study, sets)
    right = one.prediction[0] == one.label
    holds = Floor(study.floor.value, None, base).judge(right, one.group).holds
    than = 0.0 if base is None else base.astype(np.float64)
    error = standard_error(right - than, one.group)
    return holds, expected_shortfall(float(right.mean()) - study.floor.value, error)


def expected_shortfall(margin: float, error: float) -> float:
    """Mean of how far a number lies under a floor: E[max(0, -x)] of a normal x.

    Args:
        margin: how far its estimate lies above the floor, negative below it.
        error: standard error of the estimate.
    """
    if error <= 0:
        return max(0.0, -margin)
    place = margin / error
    return error * (_NORMAL.pdf(place) - place * _NORMAL.cdf(-place))
