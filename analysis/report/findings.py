"""What the report says beyond the choice: importance, the front, scores, arms, failures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.choice.pareto import Front, dominators, front_of
from analysis.choice.selection import ID_ACCURACY, Selection, scores_at
from analysis.numbers import (
    metric_label,
    parameter_label,
    percent,
    plain_time,
    score_label,
    value_text,
    with_interval,
)
from analysis.report.views import effect_notes, effect_tables
from analysis.results.effects import effects
from analysis.results.final_test import earlier_openings, openings
from analysis.results.importance import METHOD_LABELS, importance, importance_notes
from analysis.statistics.compare import MEAN, WINNER, compare
from analysis.tables import Records
from study.errors import BadInput
from study.records.failures import FailedTrial, group_failures

Row = dict[str, Any]
_RESAMPLES = 20  # of importance in a report: seconds, not minutes
_WIDE = 3  # scores that fit beside each other; more become rows
_OF_MEANS = "Dots are single trials; the choice went by means over seeds."
_USUAL = "all epochs trained"  # why a trial normally ends


def importance_of(study: Records) -> tuple[pd.DataFrame | None, str]:
    """The table of importance, or None and the sentence that says why there is none."""
    if study.spec.get("ablate"):
        return None, ""  # arms are compared by their effects
    try:
        return importance(study, num_resamples=_RESAMPLES), ""
    except BadInput as error:
        return None, error.faults[0].rule


def importance_rows(table: pd.DataFrame | None) -> Row | None:
    """One row a parameter, a cell for each method."""
    if table is None:
        return None
    methods = list(dict.fromkeys(table["method"]))
    index = {(r["parameter"], r["method"]): r for r in table.to_dict("records")}
    rows = []
    for name in dict.fromkeys(table["parameter"]):
        cells = [_importance_cell(index[name, method]) for method in methods]
        sure = sum(bool(index[name, method]["important"]) for method in methods)
        rows.append({"name": parameter_label(name), "cells": cells, "sure": sure >= 2})
    return {
        "methods": [METHOD_LABELS[method] for method in methods],
        "rows": rows,
        "notes": importance_notes(table),
    }


def _importance_cell(row: Mapping[Any, Any]) -> Row:
    return {
        "value": percent(row["importance"]),
        "interval": f"[{percent(row['low'])}, {percent(row['high'])}]",
        "sure": bool(row["important"]),
    }


def front_and_rows(study: Records, selection: Selection | None) -> tuple[Front | None, Row | None]:
    """The front with its band, and what the report says of it."""
    chosen = selection.trial_id if selection else None
    try:
        front = front_of(study, chosen=chosen)
    except BadInput:
        return None, None
    if front.table.empty:
        return None, None
    metric = front.metrics[0]
    rows = [
        {
            "trial_id": row["trial_id"],
            "epoch": value_text(row["epoch"]),
            "detection": _cell(row, metric),
            "accuracy": _cell(row, ID_ACCURACY),
            "on_front": percent(row["on_front"]),
            "chosen": bool(row["chosen"]),
            "under": bool(study.floor and row[ID_ACCURACY] < study.floor.value),
        }
        for row in front.table.to_dict("records")
    ]
    # An arm, or a configuration of several seeds, is chosen by a mean that no dot here shows.
    alone = chosen if selection and len(selection.seed_trials) <= 1 else None
    better = dominators(study, alone) if alone else []
    return front, {
        "metric": metric_label(metric, "").replace(", ID positive", ""),
        "rows": rows,
        "volume": percent(front.hypervolume),
        "volume_interval": _ends(front.low, front.high),
        "reference": f"{metric_label(metric, '')} {percent(front.reference[0])} %, accuracy 0 %",
        "dominated_by": ", ".join(better),
        "chosen": alone,
        "note": front.note if alone == chosen else f"{front.note} {_OF_MEANS}".strip(),
        "num_resampled": front.num_resampled,
    }


def volume(front: Front) -> Row:
    """The hypervolume with its interval and its reference point, for ``--json``."""
    reference = dict(zip(front.metrics, front.reference, strict=True))
    ends = {"low": front.low, "high": front.high}
    return {"value": front.hypervolume, **ends, "reference": reference, "note": front.note}


def _cell(row: Mapping[Any, Any], metric: str) -> Row:
    low, high = row.get(f"{metric}_low", float("nan")), row.get(f"{metric}_high", float("nan"))
    return {"value": percent(row[metric]), "interval": _ends(low, high)}


def _ends(low: float, high: float) -> str:
    return "" if pd.isna(low) else f"[{percent(low)}, {percent(high)}]"


def score_rows(study: Records, selection: Selection | None) -> Row | None:
    """What each score of the chosen trial detects: a row a score, AUROC and FPR95 on each set.

    None where there are few scores: those stand beside each other in the table of all sets.
    """
    if selection is None or not study.has_scores(selection.trial_id):
        return None
    try:
        sets = scores_at(study, selection.trial_id, selection.epoch)
    except BadInput:
        return None
    if len(next(iter(sets.values())).scores) <= _WIDE:
        return None
    table = compare({WINNER: sets}, seed=selection.seed)
    index = {(r["score"], r["dataset"]): r for _, r in table.iterrows()}
    names = list(dict.fromkeys(table["dataset"]))
    rows = []
    for score in dict.fromkeys(table["score"]):
        found = [index[score, name] for name in names]
        rows.append(
            {
                "score": score_label(str(score)),
                "own": score == selection.score,
                "cells": [
                    {**with_interval(one, metric), "chance": _is_chance(one)}
                    for one in found
                    for metric in ("auroc", "fpr95")
                ],
            }
        )
    shown = ["mean over sets" if name == MEAN else name for name in names]
    return {"sets": shown, "rows": rows}


def _is_chance(row: pd.Series) -> bool:
    return bool(row["auroc_low"] <= 0.5 <= row["auroc_high"])


def arms(study: Records) -> Row | None:
    """The effects of an ablation's arms as tables of texts, None for other studies."""
    if not study.spec.get("ablate"):
        return None
    try:
        table = effects(study)
    except BadInput as error:
        return {"tables": [], "notes": [fault.rule for fault in error.faults], "effects": None}
    told = effect_tables(study, table)
    tables = [
        {"title": title, "columns": list(one.columns), "rows": one.to_numpy().tolist()}
        for title, one in told.items()
    ]
    return {"tables": tables, "notes": effect_notes(study, table), "effects": table}


def remarks(study: Records) -> list[Row]:
    """Trials that ended as they should but gave cause for a remark, such as a collapse."""
    if "reason" not in study.trials.columns:
        return []
    ended = study.trials[study.trials["status"] == "finished"]
    return [
        {"trial_id": trial_id, "text": text.removeprefix(_USUAL).strip(" ;,:.") or text}
        for trial_id, text in zip(ended["trial_id"], ended["reason"], strict=True)
        if isinstance(text, str) and text.strip() not in ("", _USUAL)
    ]


def accesses(study: Records) -> list[Row]:
    """Every opening of the test sets: by this study, and before it on this machine."""
    ours = [
        {
            "time": plain_time(one.get("time")),
            "who": "this study",
            "reason": one.get("reason") or "first opening",
            "choice": str(one.get("selection") or "")[:16],
        }
        for one in openings(study)
    ]
    try:
        earlier = earlier_openings(study.folder)
    except BadInput:
        earlier = []
    theirs = [
        {
            "time": plain_time(one.get("time")),
            "who": str(one.get("run", "")).rstrip("/").rsplit("/", 1)[-1],
            "reason": one.get("reason") or "not told",
            "choice": "",
        }
        for one in earlier
    ]
    return theirs + ours


def failures(study: Records) -> dict[str, Any]:
    """Failed trials by cause, and each distinct traceback once.

    Returns:
        causes (each with its reason and the ids of its trials, which say what the trial was for
        where it was no trial of the search or of an arm) and text (of failures.txt).
    """
    kinds = {"": study.trials, " (tuning)": study.tuning, " (confirming)": study.confirming}
    failed = [
        FailedTrial(f"{row['trial_id']}{kind}", str(row.get("reason") or "no reason is on record"))
        for kind, rows in kinds.items()
        if len(rows)
        for _, row in rows[rows["status"] == "failed"].iterrows()
    ]
    causes = group_failures(sorted(failed, key=lambda one: one.trial_id))
    file = study.folder.failures
    return {
        "causes": [{"reason": one.reason, "trials": one.trials} for one in causes],
        "text": file.read_text(encoding="utf-8", errors="replace").strip()
        if file.exists()
        else "",
    }
