"""What each command of ``python -m analysis`` answers, before it is printed."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.bases import seen, seen_lines
from analysis.choice.frozen import corrected_of, corrected_text, freeze_choice, wins_text
from analysis.choice.selection import ID_ACCURACY, Selection, select, summary_row
from analysis.numbers import (
    form_of,
    metric_label,
    number,
    parameter_label,
    percent,
    points,
    score_label,
    value_text,
    with_interval,
)
from analysis.report.page import make_report, write_made, write_report
from analysis.report.papers import effects_table, export_openood, results_table
from analysis.report.sections import MODEL_LABELS
from analysis.report.views import (
    alternative_lines,
    alternative_tables,
    candidate_table,
    chosen_line,
    confirming_table,
    effect_notes,
    effect_tables,
)
from analysis.results.effects import effects
from analysis.results.final_test import results_path, run_final_test
from analysis.results.importance import METHOD_LABELS, importance_notes
from analysis.results.margins import margin_table, measured_energies
from analysis.statistics.compare import DIFFERENCE, MEAN, WINNER
from analysis.study import Study
from study.records.ledger import Ledger
from study.scoring.objective import OBJECTIVE


@dataclass(frozen=True)
class Result:
    """What a command gives.

    Attributes:
        content: for ``--json``.
        tables: title -> table of texts, for readers.
        lines: sentences after the tables.
    """

    content: Any
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def trials(study: Study, _: Namespace) -> Result:
    """All trials, the confirming ones too: status, metrics of the checkpoint, parameters."""
    rows = study.trials
    metrics = [study.metric, "val/auroc", ID_ACCURACY]
    metrics = [m for m in dict.fromkeys(metrics) if m in rows.columns]
    texts: dict[str, Any] = {"trial": rows["trial_id"], "status": rows["status"].astype("str")}
    arms = [c for c in ("arm", "seed") if study.spec.get("ablate") and c in rows.columns]
    texts |= {name: rows[name].map(value_text) for name in arms}
    texts["epochs"] = rows["epochs"].map(value_text)
    texts |= {metric_label(m): rows[m].map(form_of(m)) for m in metrics}
    texts |= {parameter_label(c): rows[c].map(value_text) for c in study.searched}
    if marked := seen(study):
        texts["start had seen"] = rows["trial_id"].map(lambda one: marked.get(one, ""))
    counts = ", ".join(f"{count} {status}" for status, count in study.status_counts().items())
    title = f"{study.name}: {len(rows)} trials{f' ({counts})' if counts else ''}"
    failed = rows[rows["status"] == "failed"]
    lines = [f"{row['trial_id']} failed: {row['reason']}" for _, row in failed.iterrows()]
    tables = {title: pd.DataFrame(texts)} if len(rows) else {}
    if len(study.confirming):
        tables["Candidates trained anew on fresh seeds"] = confirming_table(study)
        rows = pd.concat([rows, study.confirming], ignore_index=True)
    return Result(rows, tables, [*lines, *seen_lines(study)] or _no(title, rows))


def _no(title: str, rows: pd.DataFrame) -> list[str]:
    return [] if len(rows) else [f"{title}; the study was stopped before its first one."]


def margins(study: Study, _: Namespace) -> Result:
    """The base's measured energies, and the margins of every trial beside their results."""
    energies, table = measured_energies(study), margin_table(study)
    shown = pd.DataFrame({"trial": table["trial_id"], "status": table["status"].astype("str")})
    for column in ("m_in", "m_in_sd", "m_out", "m_out_sd"):
        shown[column.replace("_sd", " (sd)")] = table[column].map(number)
    for metric in (study.metric, ID_ACCURACY):
        if metric in table.columns:
            shown[metric_label(metric)] = table[metric].map(form_of(metric))
    told = energies.assign(mean=energies["mean"].map(number), sd=energies["sd"].map(number))
    title = "Energies of the base, nats (lower = more ID)"
    return Result({"energies": energies, "trials": table}, {title: told, "Margins, nats": shown})


def selection(study: Study, options: Namespace) -> Result:
    """The trial that the stated rule chooses, with its interval; frozen in selection.json."""
    chosen = select(study)
    frozen = _freeze_once(study, chosen)
    part = corrected_of(study, chosen)
    lines = [chosen_line(chosen), corrected_text(part, chosen.metric), wins_text(part)]
    lines = [line for line in [*lines, chosen.rule, frozen] if line]
    tables = {f"{study.name}: candidates": candidate_table(study, chosen)}
    content = {**summary_row(chosen), **part, "candidates": chosen.candidates}
    if options.alternatives:
        table, stable = study.alternatives(), study.stability()
        tables |= alternative_tables(study, table, stable)
        lines += alternative_lines(stable)
        content |= {"alternatives": table, "stability": stable}
    return Result(content, tables, lines)


def _freeze_once(study: Study, chosen: Selection) -> str:
    if study.status_counts().get("running"):
        return "Not frozen: the study is still running."
    with Ledger(study.folder.ledger) as ledger:
        return freeze_choice(study, chosen, ledger)


def ablation(study: Study, options: Namespace) -> Result:
    """The effect of every arm of an ablation: paired differences over the shared seeds."""
    table = effects(study, options.metric)
    return Result(table, effect_tables(study, table), effect_notes(study, table))


def importance(study: Study, options: Namespace) -> Result:
    """Which searched parameters mattered, by three methods, beside what noise would give."""
    table = study.importance(options.metric or OBJECTIVE)
    methods = list(dict.fromkeys(table["method"]))
    shown = pd.DataFrame({"parameter": list(dict.fromkeys(table["parameter"]))})
    for method in methods:
        rows = table[table["method"] == method]
        shown[f"{METHOD_LABELS[method]}, %"] = [
            f"{percent(row['importance'])} [{percent(row['low'])}, {percent(row['high'])}]"
            + (" *" if row["important"] else "")
            for _, row in rows.iterrows()
        ]
    shown["parameter"] = shown["parameter"].map(parameter_label)
    notes = importance_notes(table)
    notes.append("*: beats every random parameter in 95 % of the bootstraps.")
    return Result(
        {"importance": table, "notes": notes}, {f"{study.name}: importance": shown}, notes
    )


def report(study: Study, options: Namespace) -> Result:
    """Write report.html, one file that needs no network; print its numbers or LaTeX tables."""
    made = make_report(study)
    path = write_made(study, made)
    content = {"report": str(path), **made.content}
    if not options.latex:
        return Result(content, lines=[str(path)])
    tables = [results_table(study, content["validation"])]
    if content["effects"] is not None:
        tables.insert(0, effects_table(study, content["effects"]))
    told = "\n".join(table for table in tables if table)
    return Result(content, lines=[told or f"% {study.name}: no results to tabulate yet"])


def test(study: Study, options: Namespace) -> Result:
    """The final test, once: the frozen winner and its base on sets that were never touched."""
    table = run_final_test(study, options.again)
    write_report(Study.open(study.folder.path))
    tables = {}
    names = [s for s in table["score"].unique() if s in ("msp", "energy")]
    for score in names or table["score"].unique():
        some = table[table["score"] == score]
        tables[f"{score_label(score)} score, % [95 % interval]; differences in points"] = (
            pd.DataFrame([_shown(row) for _, row in some.iterrows()])
        )
    lines = ["FPR95: ID positive, lower is better. All scores and metrics: "]
    lines[0] += f"{results_path(study.folder)}; report: {study.folder.report}"
    return Result(table, tables, lines)


def export(study: Study, _: Namespace) -> Result:
    """The final test as CSV files in OpenOOD's columns, one a model and score."""
    written = export_openood(study)
    content = {str(path): table for path, table in written.items()}
    own = [path for path in written if path.stem == f"{WINNER}_{study.own_score}"]
    tables = {f"{path}, % (OOD positive)": written[path].round(2) for path in own}
    return Result(content, tables, [str(path) for path in written])


def _shown(row: pd.Series) -> dict[str, str]:
    form = points if row["model"] == DIFFERENCE else percent
    texts = {"OOD set": "mean over sets" if row["dataset"] == MEAN else row["dataset"]}
    texts |= {"model": MODEL_LABELS[row["model"]], "images": f"{row['n_ood']:,}"}
    for metric in ("fpr95", "auroc", "id_accuracy"):
        cell = with_interval(row, metric, form)
        texts[metric_label(metric, "").replace(", ID positive", "")] = " ".join(cell.values())
    return texts


COMMANDS: dict[str, Callable[[Study, Namespace], Result]] = {
    "trials": trials,
    "margins": margins,
    "select": selection,
    "ablation": ablation,
    "importance": importance,
    "report": report,
    "test": test,
    "export": export,
}
