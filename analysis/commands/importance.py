"""``python -m analysis importance``."""

from __future__ import annotations

from argparse import Namespace

import pandas as pd

from analysis.commands import Result
from analysis.numbers import parameter_label, percent
from analysis.results.importance import METHOD_LABELS, importance, importance_notes
from analysis.tables import Records
from study.scoring.objective import OBJECTIVE


def run(study: Records, options: Namespace) -> Result:
    """One row a parameter, one column a method."""
    table = importance(study, options.metric or OBJECTIVE)
    shown = pd.DataFrame({"parameter": table["parameter"].unique()})
    for method, rows in table.groupby("method", sort=False):
        shown[f"{METHOD_LABELS[str(method)]}, %"] = [
            f"{percent(row['importance'])} [{percent(row['low'])}, {percent(row['high'])}]"
            + (" *" if row["important"] else "")
            for _, row in rows.iterrows()
        ]
    shown["parameter"] = shown["parameter"].map(parameter_label)
    notes = importance_notes(table)
    notes.append("*: beats every random parameter in 95 % of the bootstraps.")
    content = {"importance": table, "notes": notes}
    return Result(content, {f"{study.name}: importance": shown}, notes)
