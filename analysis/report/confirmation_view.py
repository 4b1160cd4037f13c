"""A confirmation for readers: what the search found beside what fresh seeds gave."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.choice.confirmation import (
    confirmation,
    confirmation_rule,
    confirmed_table,
    kept_images,
)
from analysis.choice.selection import ID_ACCURACY
from analysis.labels import metric_label
from analysis.numbers import MISSING, form_of, percent, with_interval
from analysis.results.final_test import load_seeds
from analysis.statistics.compare import MEAN
from analysis.tables import Records

Row = dict[str, Any]


def confirmation_rows(study: Records) -> Row | None:
    """What the report says of the confirmation; None where none was asked for.

    Keys: waiting (a sentence where it has not ended, else empty), rule, metric, rows (a candidate
    each, texts), exported (trial id of the median seed), nobody (whether none passes), seeds (of
    the winner on the test sets, texts; empty before the final test).
    """
    found = confirmation(study)
    if found is None:
        waiting = waiting_text(study)
        return {"waiting": waiting, "rows": [], "seeds": []} if waiting else None
    exported = "" if found.exported is None else str(found.exported["trial_id"])
    form = form_of(study.metric)
    rows = []
    for row in confirmed_table(study).to_dict("records"):
        interval = "" if pd.isna(row["low"]) else f"[{form(row['low'])}, {form(row['high'])}]"
        rows.append(
            {
                "trial_id": row["trial_id"],
                "discovery": form(row["discovery"]),
                "mean": {"value": form(row["mean"]), "interval": interval},
                "each": ", ".join(form(value) for value in row["values"]),
                "accuracy": percent(row["id_accuracy"]),
                "verdict": "wins" if row["winner"] else row["why"] or "passes",
                "winner": row["winner"],
            }
        )
    return {
        "waiting": "",
        "rule": confirmation_rule(study, found),
        "metric": metric_label(study.metric).replace(", ID positive", ""),
        "images": "validation, the kept part" if kept_images(study) else "validation",
        "rows": rows,
        "exported": exported,
        "nobody": found.winner is None,
        "seeds": _tested(study, exported),
    }


def waiting_text(study: Records) -> str:
    """How far a confirmation is that has not ended; empty where none was asked for."""
    asked = (study.spec.get("select") or {}).get("confirm")
    if not asked:
        return ""
    status = (
        study.confirming["status"].astype(str) if len(study.confirming) else pd.Series(dtype=str)
    )
    ended = int(status.isin(("finished", "failed")).sum())
    wanted = int(asked["top"]) * int(asked["seeds"])
    return (
        f"The {asked['top']} best candidates are to be trained anew on {asked['seeds']} fresh "
        f"seeds each; {ended} of at most {wanted} runs have ended. Until then the search's own "
        "numbers decide."
    )


def _tested(study: Records, exported: str) -> list[Row]:
    """The final test of each seed of the winner, mean over the OOD sets, by the own score."""
    table = load_seeds(study.folder)
    if table is None:
        return []
    table = table[(table["dataset"] == MEAN) & (table["score"] == study.own_score)]
    return [
        {
            "trial_id": row["trial_id"],
            "seed": MISSING if pd.isna(row["seed"]) else str(row["seed"]),
            "exported": row["trial_id"] == exported,
            "cells": [with_interval(row, metric) for metric in ("fpr95", "auroc", "id_accuracy")],
        }
        for _, row in table.iterrows()
    ]


def confirming_table(study: Records) -> pd.DataFrame:
    """The runs on fresh seeds as texts, for a terminal."""
    rows = study.confirming
    form = form_of(study.metric)
    texts = {
        "trial": rows["trial_id"],
        "confirms": rows["confirms"],
        "seed": rows["seed"].astype(str),
        "status": rows["status"].astype(str),
        "epochs": rows["epochs"].map(lambda value: MISSING if pd.isna(value) else str(value)),
        metric_label(study.metric): rows[study.metric].map(form),
    }
    return pd.DataFrame(texts | {metric_label(ID_ACCURACY): rows[ID_ACCURACY].map(percent)})
