"""Metrics of an older run, computed again from its per-image scores where no hash seals them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from analysis.tables import Records
from study.errors import BadInput, Fault
from study.records.files import VAL_ID
from study.records.scores import ValidationScores
from study.scoring.measuring import OOD_METRICS, ood_metrics
from study.scoring.objective import ALPHA, ID_ACCURACY

_ROUNDING = 1e-6
_SCORED = ("finished", "pruned")


def unsealed(study: Records) -> list[dict[Any, Any]]:
    """Rows of trials with scores at their checkpoint's epoch that the ledger holds no hash of.

    None where the ledger tells of no result at all, as no real one does.
    """
    if not any(record["event"] == "result" for record in study.ledger):
        return []
    rows: list[dict[Any, Any]] = [
        *study.trials.to_dict("records"),
        *study.confirming.to_dict("records"),
    ]
    return [
        row
        for row in rows
        if row["status"] in _SCORED
        and pd.notna(epoch := row.get("checkpoint_epoch"))
        and not study.is_sealed(row["trial_id"], epoch)
        and study.has_scores(row["trial_id"])
    ]


def unlike_their_scores(study: Records) -> Iterator[Fault]:
    """Trials of `unsealed` whose metrics are not those of their scores.

    Files that cannot be read are not asked about: what needs them says so.
    """
    for row in unsealed(study):
        name = row["trial_id"]
        with suppress(BadInput):
            if told := _unlike(row, study.scores(name), study.own_score):
                place = str(study.folder.epoch_scores(name))
                way_out = "Restore the run's folder from a copy."
                yield Fault(place, f"trial {name}", told, way_out)


def _unlike(row: Mapping[Any, Any], scores: ValidationScores, own_score: str) -> str:
    """The first metric that the scores tell otherwise; empty where there is none."""
    alpha = row.get(ALPHA, 1.0)
    try:
        state = scores.at(int(row["checkpoint_epoch"]), alpha if pd.notna(alpha) else 1.0)
    except KeyError as error:
        return str(error.args[0])
    for key, value in _metrics(scores, state, own_score).items():
        if key in row and not math.isclose(row[key], value, abs_tol=_ROUNDING):
            return f"{key} is {value:.6g} by these scores and {row[key]:.6g} on record"
    return ""


def _metrics(scores: ValidationScores, state: int, own_score: str) -> dict[str, float]:
    """``val/...`` metrics of one state that follow from its scores alone."""
    ours = scores.sets[VAL_ID]
    found = {ID_ACCURACY: float(np.mean(ours.prediction[state] == ours.label))}
    others = {name: one for name, one in scores.sets.items() if name != VAL_ID}
    for name, theirs in others.items():
        for score, values in theirs.scores.items():
            measured = ood_metrics(ours.scores[score][state], values[state])
            found |= {f"val/{name}/{score}/{one}": measured[one] for one in OOD_METRICS}
    for one in OOD_METRICS if others else ():
        of_sets = [found.get(f"val/{name}/{own_score}/{one}", math.nan) for name in others]
        if not math.isnan(mean := float(np.mean(of_sets))):
            found[f"val/{one}"] = mean
    return found
