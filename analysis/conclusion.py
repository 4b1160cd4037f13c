"""The end of a study: the frozen choice, the report, and what to say of both."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.bases import base_of_trial, marks
from analysis.choice.confirmation import confirmation, confirmed_metric, kept_rule, winner_text
from analysis.choice.frozen import corrected_of, corrected_text, freeze_choice, left_out_text
from analysis.choice.held import HELD, held_text, with_held
from analysis.choice.kept import kept_apart
from analysis.choice.selection import NOTHING_BEAT_THE_BASE, Selection, select
from analysis.choice.whole import unfinished_note
from analysis.numbers import metric_label, percent, state_text, with_unit
from analysis.report.advice import Advice, advice_of
from analysis.report.hold_outs import write_overview
from analysis.report.page import write_report
from analysis.tables import Records
from study.counted import counted, wrapped
from study.errors import StudyFailed
from study.invoked import analyse_command
from study.records.files import RunFolder
from study.records.hold_outs import hold_out_folders
from study.records.ledger import Ledger
from study.scoring.intervals import Interval
from study.scoring.objective import ID_ACCURACY
from study.terminal import pasted

_WIDTH = 80


def conclude(run: RunFolder, ledger: Ledger) -> str:
    """Select, freeze and report.

    Returns:
        The result, for stdout.

    Raises:
        StudyFailed: where no trial may be selected; the report is written all the same.
    """
    study = Records.read(run.path)
    advice = advice_of(study)
    try:
        selection = select(study)
        told = freeze_choice(study, selection, ledger)
    except StudyFailed as error:
        write_report(study, advice=advice)
        lines = [f"{error} The report says more: {run.report}", *_wrapped(advice)]
        raise StudyFailed("\n".join(lines)) from error
    write_report(Records.read(run.path), advice=advice)
    return "\n".join([*_lines(study, selection, told), *_wrapped(advice), *_next(study)])


def conclude_all(path: Path) -> str:
    """What is said at the end of a study under several hold-outs; empty of any other."""
    folders = hold_out_folders(path)
    if not folders:
        return ""
    page = write_overview(path, [Records.read(folder) for folder in folders])
    command = pasted(["python", "-m", "analysis", "ablation", str(path)])
    return f"\n\nAll hold-outs  {page}\nEffects        {command}"


def _wrapped(advice: Advice) -> list[str]:
    """What the study says about the next one, a paragraph a sentence."""
    return [line for told in advice.lines for line in wrapped(told, _WIDTH)]


def _lines(study: Records, selection: Selection, frozen: str) -> list[str]:
    """The choice beside the base, its parameters, and the next commands."""
    row = study.trials.set_index("trial_id").loc[selection.trial_id]
    sure = f" {_ends(selection.interval)}, 95 % interval" if selection.interval else ""
    metric, accurate = (metric_label(m, "", short=True) for m in (selection.metric, ID_ACCURACY))
    lines = []
    if study.is_demo:
        lines.append("EMBEDDED DEMO, not CIFAR-10: these numbers show that the study works.")
    counts = ", ".join(study.counts_told())
    state = state_text(selection.epoch, selection.alpha)
    lines.append(f"Selected trial {selection.trial_id}, {state} ({counts})")
    if selection.is_base:
        lines.append(NOTHING_BEAT_THE_BASE)
    names = {c: c.removeprefix("param/").removeprefix("train.") for c in study.searched}
    wide = max(len(name) for name in (metric, accurate, "base model", *names.values()))
    over = f", mean of {num} seeds" if (num := len(selection.seed_trials)) > 1 else ""
    lines.append(f"  {metric:<{wide}} {with_unit(selection.value)}{sure}{over}")
    if selection.metric != ID_ACCURACY:
        accuracy = with_unit(selection.candidates[ID_ACCURACY].iloc[0])
        lines.append(f"  {accurate:<{wide}} {accuracy}{over}")
    base = base_of_trial(study, selection.trial_id).get("metrics") or {}
    if selection.metric in base:
        value, least = map(with_unit, (base[selection.metric], base[ID_ACCURACY]))
        beside = "" if selection.metric == ID_ACCURACY else f" at ID accuracy {least}"
        lines.append(f"  {'base model':<{wide}} {value}{beside}")
    for column, name in names.items():
        if pd.notna(given := row[column]):  # a parameter that exists under another's value alone
            text = f"{given:.4g}" if isinstance(given, float) else str(given)
            lines.append(f"  {name:<{wide}} {text}")
    held = held_text(*with_held(study, selection.candidates.head(1))[list(HELD)].iloc[0])
    apart = kept_apart(study, selection)
    told = [unfinished_note(study), selection.few, *marks(study, selection.seed_trials)]
    told += [held, apart.text if apart else ""]
    part = corrected_of(study, selection)
    told += [corrected_text(part), left_out_text(part), *confirmation_lines(study), frozen]
    return [*lines, *(part for one in told if one for part in wrapped(one, _WIDTH))]


def _next(study: Records) -> list[str]:
    """What to do next, as commands that can be copied; never wrapped."""
    folder = study.folder
    test = "none: the study has no OOD test set"
    if study.has_ood_test:
        test = f"{analyse_command('test', folder.path)}   # once"
    return [
        f"Report       {pasted([str(folder.report)])}",
        f"TensorBoard  {pasted(['tensorboard', '--logdir', str(folder.tensorboard)])}",
        f"Final test   {test}",
    ]


def confirmation_lines(study: Records) -> list[str]:
    """The candidates beside their runs, one line each, for a terminal; none without them."""
    found = confirmation(study)
    if found is None:
        return []
    metric, seeds = metric_label(confirmed_metric(study), short=True), found.num_seeds
    lines = [f"Confirmed on {counted(seeds, 'fresh seed')} each, {metric}:"]
    lines += [f" {kept}"] if (kept := kept_rule(study)) else []
    for one in found.candidates:
        interval = f" {_ends(one.interval)}" if one.interval else ""
        each = ", ".join(percent(value) for value in one.runs[one.metric])
        mark = " <- winner" if one is found.winner else f"   {one.why}" if one.why else ""
        lines.append(
            f"  {one.trial_id}: found {percent(one.discovery)}, mean {percent(one.mean)}"
            f"{interval} ({each}){mark}"
        )
    lines += [f"  {told}"] if (told := winner_text(found)) else []
    if found.exported is not None:
        lines.append(f"  exported: trial {found.exported['trial_id']}, its median seed")
    return lines


def _ends(interval: Interval) -> str:
    return f"[{percent(interval.low)}, {percent(interval.high)}]"
