"""Results for papers: LaTeX tables (booktabs) to paste, and OpenOOD's columns as CSV.

One CSV a model and score (Zhang et al. 2023, OpenOOD v1.5).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.bases import marks
from analysis.numbers import MISSING, is_fraction, metric_label, score_label
from analysis.report.arms import HEADINGS, shown_effects
from analysis.results.final_test import load_results, load_seeds
from analysis.statistics.compare import DIFFERENCE, MEAN, MODEL_LABELS, set_label
from analysis.tables import Records
from study.errors import BadInput, Fault
from study.invoked import analyse_command
from study.records.files import replacing
from study.scoring.objective import ID_ACCURACY

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
_COLUMNS = ("fpr95", "auroc")


def escape(text: Any) -> str:
    """A text as LaTeX prints it."""
    plain = "".join(_SPECIAL.get(one, one) for one in str(text))
    return plain.replace("−", "$-$").replace(MISSING, "--")


def results_table(study: Records, validation: pd.DataFrame | None = None) -> str:
    """FPR95 and AUROC of the study's own score: base, chosen, difference, on every OOD set.

    The final test's numbers where it was done, else those of ``validation``; the caption says
    which. Percent, differences in points, 95 % intervals in brackets.

    Args:
        study: its records.
        validation: from `analysis.statistics.compare.compare` on the validation sets.

    Returns:
        LaTeX, ``table`` environment, for the package booktabs; empty where there
        is nothing to show.
    """
    final = load_results(study.folder)
    table = final if final is not None and not final.empty else validation
    if table is None or table.empty:
        return ""
    is_test = table is final
    score = study.own_score if study.own_score in set(table["score"]) else table["score"].iloc[0]
    rows = table[table["score"] == score]
    n_id = int(rows["n_id"].iloc[0])
    body = []
    for dataset in rows["dataset"].unique():
        body += _set_rows(rows[rows["dataset"] == dataset], str(dataset))
    where = "Final test" if is_test else "Validation (selection was made on these sets)"
    demo = r" \textbf{Embedded demo data, not CIFAR-10.}" if study.is_demo else ""
    name = escape(score_label(str(score)))
    several = is_test and load_seeds(study.folder) is not None
    over_seeds = ", and over the winner's fresh seeds" if several else ""
    caption = (
        f"{where}, {escape(study.name)}, score: {name}. Percent, "
        f"differences in points. {n_id:,} ID images; $n$: OOD images (sources). FPR95: OOD "
        "accepted at 95\\,\\% ID recall. Brackets: 95\\,\\% bootstrap intervals over images, by "
        f"source{over_seeds}.{demo}{_marks(study)}"
    )
    head = r"OOD set & $n$ & Model & FPR95 $\downarrow$ & AUROC $\uparrow$ \\"
    return _environment("lrlrr", head, body[:-1], caption, study.name)


def candidates_table(study: Records, candidates: pd.DataFrame) -> str:
    """The best candidates: state, metric, ID accuracy, how surely each holds the floor.

    Args:
        study: its records.
        candidates: from `analysis.choice.held.with_held`; the first ten above the
            floor are shown.
    """
    rows = candidates[candidates["passes_floor"]].head(10)
    if rows.empty or rows["floor_holds"].isna().all():
        return ""
    body = [
        f"{row['trial_id']} & {row['epoch']} & {row['alpha']:g} & "
        f"{100 * row[study.metric]:.1f} & {100 * row[ID_ACCURACY]:.1f} & "
        f"{100 * row['floor_holds']:.1f} & {100 * row['floor_shortfall']:.2f} \\\\"
        for row in rows.to_dict("records")
    ]
    caption = (
        f"Candidates above the floor on ID accuracy, {escape(study.name)}, validation, percent. "
        "Holds: probability that the true accuracy reaches the floor; shortfall: how far it is "
        f"expected to lie under it, points.{_marks(study)}"
    )
    name = escape(metric_label(study.metric, "", short=True))
    head = rf"Trial & Epoch & $\alpha$ & {name} & ID accuracy & Holds & Shortfall \\"
    return _environment("lrrrrrr", head, body, caption, f"{study.name}-candidates")


def _marks(study: Records) -> str:
    """What starts had seen before, as sentences of a caption."""
    return "".join(f" {escape(one)}" for one in marks(study))


def _set_rows(rows: pd.DataFrame, dataset: str) -> list[str]:
    lines = []
    models = [model for model in MODEL_LABELS if model in set(rows["model"])]
    first = rows.iloc[0]
    sizes = f"{first['n_ood']:,}"
    if first["num_ood_groups"] != first["n_ood"]:
        sizes += f" ({first['num_ood_groups']:,})"
    for i, model in enumerate(models):
        row = rows[rows["model"] == model].iloc[0]
        start = f"{escape(set_label(dataset))} & {sizes}" if i == 0 else " & "
        cells = [_cell(row, metric, signed=model == DIFFERENCE) for metric in _COLUMNS]
        lines.append(f"{start} & {MODEL_LABELS[model]} & {' & '.join(cells)} \\\\")
    return [*lines, r"\addlinespace"]


def _cell(row: pd.Series, metric: str, *, signed: bool) -> str:
    if pd.isna(row[metric]):
        return "--"
    ends = (row[metric], row[f"{metric}_low"], row[f"{metric}_high"])
    value, low, high = (f"{100 * x:{'+' if signed else ''}.1f}" for x in ends)
    return f"${value}$ {{\\footnotesize$[{low}, {high}]$}}"


def effects_table(study: Records, table: pd.DataFrame) -> str:
    """Effects of an ablation's arms: difference, interval, p (Holm), n and failures.

    Args:
        study: its records.
        table: from ``analysis.results.effects.effects``.
    """
    body = []
    for metric, kind, rows in shown_effects(table):
        unit = ", points" if is_fraction(metric) else ""
        title = f"{metric_label(metric, '')}{unit}, {HEADINGS[kind]}"
        body.append(rf"\multicolumn{{5}}{{l}}{{\emph{{{escape(title)}}}}} \\")
        body += [
            _effect_row(row, 100.0 if is_fraction(metric) else 1.0) for _, row in rows.iterrows()
        ]
        body.append(r"\addlinespace")
    caption = (
        f"Ablation, {escape(study.name)}: paired differences over shared seeds with 95\\,\\% "
        "intervals; exact sign-flip $p$, Holm-corrected; $n$: pairs of seeds."
    )
    head = r"Effect & Difference & $p$ & $n$ & failed \\"
    return _environment("lrrrr", head, body[:-1], caption, f"{study.name}-effects")


def _effect_row(row: pd.Series, scale: float) -> str:
    told = "--" if pd.isna(row["mean"]) else f"${scale * row['mean']:+.2f}$"
    if not pd.isna(row["low"]):
        low, high = (f"{scale * row[key]:+.2f}" for key in ("low", "high"))
        told += f" {{\\footnotesize$[{low}, {high}]$}}"
    p = "--" if pd.isna(row["p_holm"]) else f"{row['p_holm']:.3g}"
    cells = [escape(row["effect"]), told, p, f"{row['n']}/{row['num_seeds']}"]
    return " & ".join([*cells, str(row["num_failed"])]) + r" \\"


def _environment(columns: str, head: str, body: list[str], caption: str, name: str) -> str:
    label = re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-")
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}[t]",
        r"\centering\small",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


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
        command = analyse_command("test", study.folder.path)
        way_out = f"Run it first: {command}"
        raise BadInput(Fault(str(study.folder.path), "", rule, way_out))
    written = {}
    rows = results[results["model"] != DIFFERENCE]
    for (model, score), part in rows.groupby(["model", "score"], sort=False):
        table = openood_table(part, NEAR, FAR)
        path = study.folder.final_test / "openood" / f"{model}_{score}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            table.to_csv(file, index=False, float_format="%.2f")
        written[path] = table
    return written
