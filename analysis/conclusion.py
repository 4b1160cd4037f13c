"""The end of a study: the frozen choice, the report, and what to say of both."""

from __future__ import annotations

import shlex
from textwrap import wrap

import pandas as pd

from analysis.bases import base_of_trial
from analysis.choice.confirmation import confirmation, confirmed_metric, kept_rule
from analysis.choice.frozen import corrected_of, corrected_text, freeze_choice
from analysis.choice.held import HELD, held_text, with_held
from analysis.choice.kept import kept_apart
from analysis.choice.selection import NOTHING_BEAT_THE_BASE, Selection, select
from analysis.choice.whole import unfinished_note
from analysis.numbers import fraction, state_text
from analysis.report.advice import Advice, advice_of
from analysis.report.page import write_report
from analysis.tables import Records
from study.errors import StudyFailed
from study.records.files import RunFolder
from study.records.ledger import Ledger
from study.scoring.intervals import Interval
from study.scoring.objective import ID_ACCURACY

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
    return "\n".join([*_lines(study, selection, told), *_wrapped(advice)])


def _wrapped(advice: Advice) -> list[str]:
    """What the study says about the next one, a paragraph a sentence."""
    return [line for told in advice.lines for line in wrap(told, _WIDTH, subsequent_indent="  ")]


def _lines(study: Records, selection: Selection, frozen: str) -> list[str]:
    """The choice beside the base, its parameters, and the next commands."""
    row = study.trials.set_index("trial_id").loc[selection.trial_id]
    sure = f" {_ends(selection.interval)}, 95 % interval" if selection.interval else ""
    lines = []
    if study.is_demo:
        lines.append("EMBEDDED DEMO, not CIFAR-10: these numbers show that the study works.")
    counts = ", ".join(study.counts_told())
    state = state_text(selection.epoch, selection.alpha)
    lines.append(f"Selected trial {selection.trial_id}, {state} ({counts})")
    if selection.is_base:
        lines.append(NOTHING_BEAT_THE_BASE)
    names = {c: c.removeprefix("param/").removeprefix("train.") for c in study.searched}
    wide = max(len(name) for name in (selection.metric, ID_ACCURACY, *names.values()))
    over = f", mean of {num} seeds" if (num := len(selection.seed_trials)) > 1 else ""
    lines.append(f"  {selection.metric:<{wide}} {selection.value:.3f}{sure}{over}")
    if selection.metric != ID_ACCURACY:
        accuracy = selection.candidates[ID_ACCURACY].iloc[0]
        lines.append(f"  {ID_ACCURACY:<{wide}} {accuracy:.3f}{over}")
    base = base_of_trial(study, selection.trial_id).get("metrics") or {}
    if selection.metric in base:
        value, accuracy = base[selection.metric], base[ID_ACCURACY]
        lines.append(f"  {'base model':<{wide}} {value:.3f} at ID accuracy {accuracy:.3f}")
    for column, name in names.items():
        if pd.notna(value := row[column]):  # a parameter that exists under another's value alone
            told = f"{value:.4g}" if isinstance(value, float) else str(value)
            lines.append(f"  {name:<{wide}} {told}")
    folder = study.folder
    held = held_text(*with_held(study, selection.candidates.head(1))[list(HELD)].iloc[0])
    apart = kept_apart(study, selection)
    return [
        *lines,
        *filter(None, [unfinished_note(study), held, apart.text if apart else ""]),
        corrected_text(corrected_of(study, selection), fraction),
        *confirmation_lines(study),
        frozen,
        f"Report       {folder.report}",
        f"TensorBoard  {shlex.join(['tensorboard', '--logdir', str(folder.tensorboard)])}",
        _final_test_line(study),
    ]


def _final_test_line(study: Records) -> str:
    """The command, or that there is nothing to test on."""
    if not study.has_ood_test:
        return "Final test   none: the study has no OOD test set"
    command = shlex.join(["python", "-m", "analysis", "test", str(study.folder.path)])
    return f"Final test   {command}   # once"


def confirmation_lines(study: Records) -> list[str]:
    """The candidates beside their runs, one line each, for a terminal; none without them."""
    found = confirmation(study)
    if found is None:
        return []
    lines = [f"Confirmed on {found.num_seeds} fresh seeds each ({confirmed_metric(study)}):"]
    lines += [f" {kept}"] if (kept := kept_rule(study)) else []
    for one in found.candidates:
        interval = f" {_ends(one.interval)}" if one.interval else ""
        each = ", ".join(fraction(value) for value in one.runs[one.metric])
        mark = " <- winner" if one is found.winner else f"   {one.why}" if one.why else ""
        lines.append(
            f"  {one.trial_id}: found {fraction(one.discovery)}, mean {fraction(one.mean)}"
            f"{interval} ({each}){mark}"
        )
    if found.exported is not None:
        lines.append(f"  exported: trial {found.exported['trial_id']}, its median seed")
    return lines


def _ends(interval: Interval) -> str:
    return f"[{fraction(interval.low)}, {fraction(interval.high)}]"
