"""``python -m analysis trials``."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pandas as pd

from analysis.bases import saw_validation, seen, seen_lines, seen_text
from analysis.commands import Result
from analysis.numbers import metric_label, parameter_label, percent, value_text
from analysis.report.terminal import TOGETHER
from analysis.tables import Records
from study.counted import counted
from study.scoring.objective import ALPHA, ID_ACCURACY

_MOST_REASONS = 12  # of trials that did not finish; the others' stand in trials.parquet


def run(study: Records, _: Namespace) -> Result:
    """All trials; a table of those that train candidates anew; why some did not finish."""
    rows = study.trials
    texts: dict[str, Any] = {"trial": rows["trial_id"], "status": rows["status"].astype("str")}
    texts |= {name: rows[name].map(value_text) for name in study.arm_columns}
    texts |= {metric_label(m, short=True): rows[m].map(percent) for m in study.told_metrics}
    texts["epochs"] = rows["epochs"].map(value_text)
    if study.has_path:
        texts["alpha"] = rows[ALPHA].map(value_text)
    texts |= {parameter_label(c): rows[c].map(value_text) for c in study.searched}
    if marked := seen(study):
        texts["start had seen"] = rows["trial_id"].map(lambda one: seen_text(marked.get(one, {})))
    counts = ", ".join(study.counts_told())
    title = f"{study.name}: {counted(len(rows), 'trial')}{f' ({counts})' if counts else ''}"
    lines = [*_reasons(rows), *seen_lines(study), *saw_validation(study)]
    tables = {title: pd.DataFrame(texts)} if len(rows) else {}
    for table in tables.values():
        table.attrs[TOGETHER] = len(study.searched) + bool(marked)
    if len(study.confirming):
        tables["Candidates trained anew on fresh seeds"] = _confirming(study)
        rows = pd.concat([rows, study.confirming], ignore_index=True)
    if not (lines or len(rows)):
        lines = [f"{title}; the study was stopped before its first one."]
    return Result(rows, tables, lines)


def _reasons(rows: pd.DataFrame) -> list[str]:
    """Why trials ended before their last epoch, those that failed first."""
    if not len(rows):
        return []
    ended = [rows[rows["status"] == status] for status in ("failed", "pruned", "stopped")]
    lines = [
        f"{row['trial_id']} {row['status']}: {row['reason']}"
        for some in ended
        for _, row in some.iterrows()
        if isinstance(row.get("reason"), str) and row["reason"]
    ]
    beyond = len(lines) - _MOST_REASONS
    more = [f"and {beyond} more: column reason of trials.parquet"] if beyond > 0 else []
    return lines[:_MOST_REASONS] + more


def _confirming(study: Records) -> pd.DataFrame:
    """The runs on fresh seeds as texts."""
    rows = study.confirming
    texts = {"trial": rows["trial_id"], "confirms": rows["confirms"]}
    texts |= {"seed": rows["seed"].astype(str), "status": rows["status"].astype(str)}
    metrics = dict.fromkeys([study.metric, ID_ACCURACY])
    texts |= {metric_label(m, short=True): rows[m].map(percent) for m in metrics}
    return pd.DataFrame(texts | {"epochs": rows["epochs"].map(value_text)})
