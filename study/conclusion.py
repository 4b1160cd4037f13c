"""The end of a study: the frozen choice, the report, and what to say of both."""

from __future__ import annotations

import analysis
from analysis.frozen import freeze
from analysis.report import write_report
from analysis.selection import NoSelection, Selection
from analysis.study import Study
from study.ledger import Ledger
from study.records import RunFolder


def conclude(run: RunFolder, ledger: Ledger) -> tuple[str, str]:
    """Select, freeze and report.

    Returns:
        The result for stdout, and why there is none ("" where there is one).
    """
    study = analysis.load(run.path)
    try:
        selection = study.select()
    except NoSelection as error:
        run.selection.unlink(missing_ok=True)
        write_report(study)
        return "", f"{error} The report says more: {run.report}"
    frozen = freeze(study, selection)
    if selection.trial_id != _last_choice(ledger) or _last_hash(ledger) != frozen["sha256"]:
        ledger.append("selected", trial_id=selection.trial_id, sha256=frozen["sha256"])
    write_report(analysis.load(run.path))
    return _text(study, selection, run), ""


def _last_choice(ledger: Ledger) -> str:
    chosen = ledger.events("selected")
    return str(chosen[-1]["trial_id"]) if chosen else ""


def _last_hash(ledger: Ledger) -> str:
    chosen = ledger.events("selected")
    return str(chosen[-1]["sha256"]) if chosen else ""


def _text(study: Study, selection: Selection, run: RunFolder) -> str:
    """The choice beside the base, its parameters, and the next command."""
    row = study.trials.set_index("trial_id").loc[selection.trial_id]
    interval = selection.interval
    sure = f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else ""
    lines = []
    if study.is_demo:
        lines.append("EMBEDDED DEMO, not CIFAR-10: these numbers show that the study works.")
    counts = ", ".join(f"{count} {status}" for status, count in study.status_counts().items())
    lines.append(f"Selected trial {selection.trial_id}, epoch {selection.epoch} ({counts})")
    lines.append(f"  {selection.metric:<18} {selection.value:.3f}{sure}  (95 % interval)")
    lines.append(f"  {'val/id_accuracy':<18} {row['val/id_accuracy']:.3f}")
    base = study.base.get("metrics") or {}
    if base:
        values = f"{base.get(selection.metric, float('nan')):.3f}"
        lines.append(f"  base model         {values} at ID accuracy {base['val/id_accuracy']:.3f}")
    for column in study.searched:
        lines.append(f"  {column.removeprefix('param/train.'):<18} {_short(row[column])}")
    lines += [
        f"Report      {run.report}",
        f"TensorBoard tensorboard --logdir {run.tensorboard}",
        f"Final test  python -m analysis test {run.path}   (once)",
    ]
    return "\n".join(lines)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
