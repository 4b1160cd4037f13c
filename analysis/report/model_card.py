"""The part of an exported model's card that the records tell: numbers, threshold, data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.choice.frozen import corrected_text
from analysis.numbers import MISSING, metric_label, percent, score_label, state_text, with_interval
from analysis.report.methods import methods_text
from analysis.results.final_test import load_results
from analysis.statistics.compare import MODEL_LABELS, form_for, set_label
from analysis.tables import Records

_METRICS = ("fpr95", "auroc", "id_accuracy")


def model_card(study: Records, frozen: Mapping[str, Any]) -> str:
    """What a model is, how good, and on what; Markdown.

    Args:
        study: its records.
        frozen: the frozen choice.
    """
    state = state_text(int(frozen["winner_epoch"]), float(frozen.get("winner_alpha", 1.0)))
    demo = ["**Embedded demo data: these numbers show that the study works, no more.**", ""]
    parts = [
        f"# Model of the study {study.name}",
        "",
        f"Trial {frozen['winner']}, {state}; choice {frozen['sha256'][:16]}.",
        "",
        *(demo if study.is_demo else []),
        methods_text(study),
        "",
        "## Numbers",
        "",
        f"Score: {score_label(study.own_score)}. FPR95: OOD images accepted at 95 % ID recall, "
        "lower is better. Percent, 95 % intervals in brackets, differences in points.",
        "",
        _validation(frozen),
        "",
        *_final_test(study),
        "",
        "## Data",
        "",
        *_data(study),
    ]
    return "\n".join(parts)


def _validation(frozen: Mapping[str, Any]) -> str:
    interval = frozen.get("interval")
    ends = f" [{percent(interval[0])}, {percent(interval[1])}]" if interval else ""
    label = metric_label(frozen["metric"], "", short=True)
    value = f"{percent(frozen['value'])}{ends}"
    return f"Validation, on which it was chosen: {label} {value}. {corrected_text(frozen)}."


def _final_test(study: Records) -> list[str]:
    table = load_results(study.folder)
    if table is None or table.empty:
        return ["The final test was not done: nothing is known on images that chose nothing."]
    rows = table[table["score"] == study.own_score]
    head = ["OOD set", "model", "images", *(metric_label(one, "", short=True) for one in _METRICS)]
    lines = ["Final test, opened once:", "", _row(head), _row(["---"] * len(head))]
    return lines + [_row(_cells(row)) for _, row in rows.iterrows()]


def _cells(row: pd.Series) -> list[str]:
    form = form_for(row["model"])
    numbers = [" ".join(with_interval(row, one, form).values()) for one in _METRICS]
    return [set_label(row["dataset"]), MODEL_LABELS[row["model"]], f"{row['n_ood']:,}", *numbers]


def _data(study: Records) -> list[str]:
    data = study.manifest.get("data", {})
    lines = [_row(["role", "images", "from", "fingerprint"]), _row(["---"] * 4)]
    for role, one in data.get("roles", {}).items():
        cells = [role, f"{one.get('num_images', 0):,}", str(one.get("provenance", MISSING))]
        lines.append(_row([*cells, str(one.get("fingerprint", MISSING))[:16]]))
    tests = data.get("test_fingerprints", {})
    lines += [_row([f"test/{name}", "", "", str(mark)[:16]]) for name, mark in tests.items()]
    return lines


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
