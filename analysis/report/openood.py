"""The final test in OpenOOD's columns, one file a model and score (Zhang et al. 2023, v1.5).

Rows are the near sets, ``nearood``, the far sets, ``farood``, as their evaluator writes them; a
set that is neither follows, and a mean stands where all of its sets are there. Percent, two
digits. ``FPR@95`` counts OOD as positive: the share of ID images rejected where 95 % of OOD images
are found (``fpr95_ood_positive`` here), not the energy paper's. Two things differ from theirs:
they take FPR from scikit-learn's ROC curve with dropped points, here it is the first threshold
that reaches 95 %, and their AUPR is a trapezoid, here it is the average precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.results.final_test import load_results
from analysis.statistics.compare import DIFFERENCE, MEAN
from analysis.tables import Records
from study.errors import BadInput, Fault
from study.records.files import RunFolder, replacing

NEAR = ("cifar100", "tin")
FAR = ("mnist", "svhn", "texture", "places365")
COLUMNS = {
    "FPR@95": "fpr95_ood_positive",
    "AUROC": "auroc",
    "AUPR_IN": "aupr_in",
    "AUPR_OUT": "aupr_out",
    "ACC": "id_accuracy",
}
"""OpenOOD's column -> ours."""


def openood_table(results: pd.DataFrame, near: Sequence[str], far: Sequence[str]) -> pd.DataFrame:
    """Rows of one model and score in OpenOOD's form.

    Args:
        results: rows of ``analysis.statistics.compare.compare`` of one model and one score.
        near: names of the near-OOD sets.
        far: names of the far-OOD sets.

    Returns:
        Columns dataset, FPR@95, AUROC, AUPR_IN, AUPR_OUT, ACC, the last five in percent.
    """
    sets = results[results["dataset"] != MEAN].set_index("dataset")
    percent = pd.DataFrame({theirs: 100 * sets[ours] for theirs, ours in COLUMNS.items()})
    parts = []
    for group, names in (("nearood", near), ("farood", far)):
        there = [name for name in names if name in percent.index]
        parts.append(percent.loc[there])
        if there and len(there) == len(names):
            parts.append(percent.loc[there].mean().to_frame(group).T)
    parts.append(percent.drop(index=[*near, *far], errors="ignore"))
    return pd.concat(parts).rename_axis("dataset").reset_index()


def export_openood(study: Records) -> dict[Path, pd.DataFrame]:
    """Write ``final_test/openood/<model>_<score>.csv`` for every model and score.

    Returns:
        Each file and its table.

    Raises:
        BadInput: where the final test was not done.
    """
    results = load_results(study.folder)
    if results is None:
        rule = "there is no final test to export"
        way_out = f"Run it first: python -m analysis test {study.folder.path}."
        raise BadInput(Fault(str(study.folder.path), "", rule, way_out))
    written = {}
    rows = results[results["model"] != DIFFERENCE]
    for (model, score), part in rows.groupby(["model", "score"], sort=False):
        table = openood_table(part, NEAR, FAR)
        path = _path(study.folder, str(model), str(score))
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            table.to_csv(file, index=False, float_format="%.2f")
        written[path] = table
    return written


def _path(folder: RunFolder, model: str, score: str) -> Path:
    return folder.final_test / "openood" / f"{model}_{score}.csv"
