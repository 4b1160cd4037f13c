"""The end of a study: the frozen choice, the report, and what to say of both."""

from __future__ import annotations

import pandas as pd

from analysis.bases import base_of
from analysis.choice.confirmation import confirmation_lines
from analysis.choice.frozen import corrected_of, corrected_text, freeze_choice
from analysis.choice.selection import ID_ACCURACY, Selection
from analysis.numbers import fraction
from analysis.report.page import write_report
from analysis.study import Study
from study.errors import StudyFailed
from study.records.files import RunFolder
from study.records.ledger import Ledger


def conclude(run: RunFolder, ledger: Ledger) -> str:
    """Select, freeze and report.

    Returns:
        The result, for stdout.

    Raises:
        StudyFailed: where no trial may be selected; the report is written all the same.
    """
    study = Study.open(run.path)
    try:
        selection = study.select()
        told = freeze_choice(study, selection, ledger)
    except StudyFailed as error:
        write_report(study)
        raise StudyFailed(f"{error} The report says more: {run.report}") from error
    write_report(Study.open(run.path))
    return _text(study, selection, told)


def _text(study: Study, selection: Selection, frozen: str) -> str:
    """The choice beside the base, its parameters, and the next commands."""
    row = study.trials.set_index("trial_id").loc[selection.trial_id]
    interval = selection.interval
    sure = f" [{interval.low:.3f}, {interval.high:.3f}], 95 % interval" if interval else ""
    lines = []
    if study.is_demo:
        lines.append("EMBEDDED DEMO, not CIFAR-10: these numbers show that the study works.")
    counts = ", ".join(f"{count} {status}" for status, count in study.status_counts().items())
    lines.append(f"Selected trial {selection.trial_id}, epoch {selection.epoch} ({counts})")
    names = {c: c.removeprefix("param/").removeprefix("train.") for c in study.searched}
    wide = max(len(name) for name in (selection.metric, ID_ACCURACY, *names.values()))
    over = f", mean of {num} seeds" if (num := len(selection.seed_trials)) > 1 else ""
    lines.append(f"  {selection.metric:<{wide}} {selection.value:.3f}{sure}{over}")
    if selection.metric != ID_ACCURACY:
        accuracy = selection.candidates[ID_ACCURACY].iloc[0]
        lines.append(f"  {ID_ACCURACY:<{wide}} {accuracy:.3f}{over}")
    base = base_of(study, selection.trial_id).get("metrics") or {}
    if selection.metric in base:
        value, accuracy = base[selection.metric], base[ID_ACCURACY]
        lines.append(f"  {'base model':<{wide}} {value:.3f} at ID accuracy {accuracy:.3f}")
    for column, name in names.items():
        if pd.notna(row[column]):  # a parameter that exists under another's value alone
            lines.append(f"  {name:<{wide}} {_short(row[column])}")
    folder = study.folder
    lines.append(corrected_text(corrected_of(study, selection), selection.metric, fraction))
    lines += confirmation_lines(study)
    lines += [
        frozen,
        f"Report       {folder.report}",
        f"TensorBoard  tensorboard --logdir {folder.tensorboard}",
        f"Final test   python -m analysis test {folder.path}   (once)",
    ]
    return "\n".join(lines)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
