"""``python -m analysis trials``."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pandas as pd

from analysis.bases import seen, seen_lines, seen_text
from analysis.commands import Result
from analysis.numbers import metric_label, parameter_label, percent, value_text
from analysis.tables import Records
from study.scoring.objective import ALPHA


def run(study: Records, _: Namespace) -> Result:
    """All trials; a table of those that train candidates anew; failures in words."""
    rows = study.trials
    texts: dict[str, Any] = {"trial": rows["trial_id"], "status": rows["status"].astype("str")}
    texts |= {name: rows[name].map(value_text) for name in study.arm_columns}
    texts["epochs"] = rows["epochs"].map(value_text)
    if study.has_path:
        texts["alpha"] = rows[ALPHA].map(value_text)
    texts |= {metric_label(m): rows[m].map(percent) for m in study.told_metrics}
    texts |= {parameter_label(c): rows[c].map(value_text) for c in study.searched}
    if marked := seen(study):
        texts["start had seen"] = rows["trial_id"].map(lambda one: seen_text(marked.get(one, {})))
    counts = ", ".join(study.counts_told())
    title = f"{study.name}: {len(rows)} trials{f' ({counts})' if counts else ''}"
    failed = rows[rows["status"] == "failed"]
    lines = [f"{row['trial_id']} failed: {row['reason']}" for _, row in failed.iterrows()]
    lines += seen_lines(study)
    tables = {title: pd.DataFrame(texts)} if len(rows) else {}
    if len(study.confirming):
        tables["Candidates trained anew on fresh seeds"] = _confirming(study)
        rows = pd.concat([rows, study.confirming], ignore_index=True)
    if not (lines or len(rows)):
        lines = [f"{title}; the study was stopped before its first one."]
    return Result(rows, tables, lines)


def _confirming(study: Records) -> pd.DataFrame:
    """The runs on fresh seeds as texts."""
    rows = study.confirming
    texts = {"trial": rows["trial_id"], "confirms": rows["confirms"]}
    texts |= {"seed": rows["seed"].astype(str), "status": rows["status"].astype(str)}
    texts["epochs"] = rows["epochs"].map(value_text)
    metrics = dict.fromkeys([study.metric, "val/id_accuracy"])
    return pd.DataFrame(texts | {metric_label(m): rows[m].map(percent) for m in metrics})
