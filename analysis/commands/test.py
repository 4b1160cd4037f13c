"""``python -m analysis test``."""

from __future__ import annotations

from argparse import Namespace

import pandas as pd

from analysis.bases import marks
from analysis.commands import Result
from analysis.numbers import metric_label, score_label, with_interval
from analysis.report.page import write_report
from analysis.results.final_test import main_scores, run_final_test, selective_rows
from analysis.statistics.compare import MODEL_LABELS, form_for, set_label
from analysis.tables import Records


def run(study: Records, options: Namespace) -> Result:
    """Winner, base and difference on every test set; the report is written anew."""
    table = run_final_test(study, options.again)
    write_report(Records.read(study.folder.path))
    tables = {
        f"{score_label(score)} score, % [95 % interval]; differences in points": pd.DataFrame(
            [_shown(row) for _, row in table[table["score"] == score].iterrows()]
        )
        for score in main_scores(table)
    }
    tables["ID test images: errors, calibration, % [95 % interval]"] = pd.DataFrame(
        selective_rows(table)
    )
    lines = ["FPR95: ID positive, lower is better. All scores and metrics: "]
    lines[0] += f"{study.folder.test_results}; report: {study.folder.report}"
    lines += marks(study)
    return Result(table, tables, lines)


def _shown(row: pd.Series) -> dict[str, str]:
    texts = {"OOD set": set_label(row["dataset"]), "model": MODEL_LABELS[row["model"]]}
    texts["images"] = f"{row['n_ood']:,}"
    for metric in ("fpr95", "auroc", "id_accuracy"):
        cell = with_interval(row, metric, form_for(row["model"]))
        texts[metric_label(metric, "", short=True)] = " ".join(cell.values())
    return texts
