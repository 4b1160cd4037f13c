"""What the report says beyond the choice: confirmation, importance, front, scores, failures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import pandas as pd

from analysis.choice.confirmation import (
    confirmation,
    confirmation_rule,
    confirmed_table,
    kept_images,
    waiting_text,
    winner_text,
)
from analysis.choice.pareto import Front, dominators, front_of
from analysis.choice.selection import Selection, scores_at
from analysis.numbers import plain_time
from analysis.results.final_test import earlier_openings, load_seeds, openings
from analysis.results.importance import METHOD_LABELS, importance, importance_notes
from analysis.statistics.compare import MEAN, WINNER, compare
from analysis.tables import Records
from study.errors import BadInput
from study.records.failures import FailedTrial, group_failures
from study.records.files import ALL_EPOCHS

Row = dict[str, Any]
_WIDE = 3  # scores that fit beside each other; more become rows
_OF_MEANS = "Dots are single trials; the choice went by means over seeds."


def importance_of(study: Records) -> tuple[pd.DataFrame | None, str]:
    """The table of importance, or None and the sentence that says why there is none."""
    if study.section("ablate"):
        return None, ""  # arms are compared by their effects
    try:
        return importance(study), ""
    except BadInput as error:
        return None, error.faults[0].rule


def importance_rows(table: pd.DataFrame | None) -> Row | None:
    """One row a parameter, a cell for each method."""
    if table is None:
        return None
    methods = list(table["method"].unique())
    return {
        "methods": [METHOD_LABELS[method] for method in methods],
        "rows": [
            own.set_index("method").loc[methods].to_dict("records")
            for _, own in table.groupby("parameter", sort=False)
        ],
        "notes": importance_notes(table),
        "enough": bool(table["enough"].iloc[0]),
    }


def front(study: Records) -> Front | None:
    """The front with its band; None where there is none."""
    try:
        found = front_of(study)
    except BadInput:
        return None
    return None if found.table.empty else found


def front_facts(
    study: Records, selection: Selection | None, found: Front | None
) -> Mapping[str, Any] | None:
    """What the report says of the front: its attributes, rows, chosen, dominated_by, note."""
    if found is None:
        return None
    # An arm, or a configuration of several seeds, is chosen by a mean that no dot here shows.
    by_mean = selection is not None and len(selection.seed_trials) > 1
    alone = selection.trial_id if selection and not by_mean else None
    return vars(found) | {
        "rows": found.table.to_dict("records"),
        "dominated_by": ", ".join(dominators(study, alone) if alone else ()),
        "chosen": alone,
        "note": f"{found.note} {_OF_MEANS}".strip() if by_mean else found.note,
    }


def volume(front: Front) -> Row:
    """The hypervolume with its interval and its reference point, for ``--json``."""
    reference = dict(zip(front.metrics, front.reference, strict=True))
    ends = {"low": front.low, "high": front.high}
    return {"value": front.hypervolume, **ends, "reference": reference, "note": front.note}


def score_rows(study: Records, selection: Selection | None) -> Row | None:
    """What each score of the chosen trial detects: a row a score, AUROC and FPR95 on each set.

    None where there are few scores: those stand beside each other in the table of all sets.
    """
    if selection is None or not study.has_scores(selection.trial_id):
        return None
    try:
        sets = scores_at(study, *selection.place)
    except BadInput:
        return None
    if len(next(iter(sets.values())).scores) <= _WIDE:
        return None
    table = compare({WINNER: sets}, seed=selection.seed)
    rows = [
        (score, found.to_dict("records")) for score, found in table.groupby("score", sort=False)
    ]
    return {"sets": list(table["dataset"].unique()), "rows": rows}


def confirmation_rows(study: Records) -> Row | None:
    """What the report says of the confirmation; None where none was asked for.

    Keys: waiting (a sentence where it has not ended, else empty), rule, kept (whether it is of a
    kept part of validation), rows (of ``confirmed_table``), exported (trial id of the median
    seed), nobody (whether none passes), seeds (the final test of each seed of the winner, mean
    over the OOD sets, by the own score; empty before the final test).
    """
    found = confirmation(study)
    if found is None:
        waiting = waiting_text(study)
        return {"waiting": waiting, "seeds": []} if waiting else None
    seeds = load_seeds(study.folder)
    if seeds is not None:
        seeds = seeds[(seeds["dataset"] == MEAN) & (seeds["score"] == study.own_score)]
    return {
        "waiting": "",
        "rule": f"{confirmation_rule(study, found)} {winner_text(found)}".strip(),
        "kept": bool(kept_images(study)),
        "rows": confirmed_table(study).to_dict("records"),
        "exported": "" if found.exported is None else str(found.exported["trial_id"]),
        "nobody": found.winner is None,
        "seeds": [] if seeds is None else seeds.to_dict("records"),
    }


def remarks(study: Records) -> list[Row]:
    """Trials that ended as they should but gave cause for a remark, such as a collapse."""
    if "reason" not in study.trials.columns:
        return []
    ended = study.trials[study.trials["status"] == "finished"]
    return [
        {"trial_id": trial_id, "text": text.removeprefix(ALL_EPOCHS).strip(" ;,:.") or text}
        for trial_id, text in zip(ended["trial_id"], ended["reason"], strict=True)
        if isinstance(text, str) and text.strip() not in ("", ALL_EPOCHS)
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
            "who": PurePath(str(one.get("run", ""))).name,
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
