"""report.html: one file that tells a study to somebody who was not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from analysis.choice.confirmation import confirmed_table
from analysis.choice.pareto import Front
from analysis.choice.selection import NoSelection, Selection, select, summary_row
from analysis.report import figures, findings, sections
from analysis.report.findings import failures
from analysis.report.methods import methods_text
from analysis.report.views import confirmation_rows
from analysis.results.final_test import load_results
from analysis.results.importance import importance_notes
from analysis.tables import Records
from study.records.files import write_bytes

_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Report:
    """What a study says.

    Attributes:
        html: the page.
        content: the numbers behind it, for ``--json``: name, recipe, demo, counts (of trials by
            status), faults, methods (the text), problem (why nothing was chosen), selection,
            validation (chosen beside base), front, hypervolume, importance (with
            importance_notes), effects, confirmation, remarks, final_test, test_accesses,
            provenance. Tables are DataFrames; what the study does not have is None.
    """

    html: str
    content: Mapping[str, Any]


def write_report(study: Records, now: datetime | None = None) -> Path:
    """Write report.html into the run's folder and return its path.

    Args:
        study: its records; a study without trials, or without a selection, is told as such.
        now: the moment that the report names; the present where None.
    """
    return write_made(study, make_report(study, now))


def write_made(study: Records, report: Report) -> Path:
    """Write a report that is in hand and return its path."""
    write_bytes(study.folder.report, report.html.encode())
    return study.folder.report


def render(study: Records, now: datetime) -> str:
    """The report as one HTML text that needs no network and no other file."""
    return make_report(study, now).html


def make_report(study: Records, now: datetime | None = None) -> Report:
    """Ask the study everything once: the page and the numbers behind it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    shown, content = _answers(study, now or datetime.now(UTC))
    return Report(environment.get_template("report.html.j2").render(shown), content)


def _answers(study: Records, now: datetime) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Everything that the template shows, as plain values, and the tables behind it."""
    selection, problem = _selected(study)
    compared = sections.comparison(study, selection) if selection else None
    front, front_rows = findings.front_and_rows(study, selection)
    importance, why_none = findings.importance_of(study)
    arms = findings.arms(study)
    effects = arms["effects"] if arms else None
    shown = {
        "made": f"{now:%d %B %Y, %H:%M} UTC",
        "problem": problem,
        "faults": study.faults,
        "methods": methods_text(study),
        "front": front_rows,
        "importance": findings.importance_rows(importance),
        "no_importance": why_none,
        "arms": arms,
        "detects": findings.score_rows(study, selection),
        "remarks": findings.remarks(study),
        "accesses": findings.accesses(study),
        **sections.header(study),
        **sections.choice(study, selection, compared),
        "confirmation": confirmation_rows(study),
        "final": sections.final(study),
        "trials": sections.trials(study, selection),
        "failures": failures(study),
        **sections.provenance(study),
        **figures.all_figures(study, selection, front, importance, effects),
    }
    content = _numbers(study, shown, front, importance) | {
        "selection": summary_row(selection) if selection else None,
        "confirmation": confirmed_table(study),
        "validation": compared,
        "effects": effects,
    }
    return shown, content


def _selected(study: Records) -> tuple[Selection | None, str]:
    """The choice, or None and the sentence that says why there is none."""
    try:
        return select(study), ""
    except NoSelection as error:
        return None, str(error).removeprefix(f"{study.folder.path}: ")


def _numbers(
    study: Records,
    shown: Mapping[str, Any],
    front: Front | None,
    importance: pd.DataFrame | None,
) -> dict[str, Any]:
    told = ("name", "recipe", "demo", "counts", "faults", "methods", "problem", "remarks")
    why_none = [shown["no_importance"]] if shown["no_importance"] else []
    return {
        **{key: shown[key] for key in told},
        "front": front.table if front else None,
        "hypervolume": findings.volume(front) if front else None,
        "importance": importance,
        "importance_notes": importance_notes(importance) if importance is not None else why_none,
        "final_test": load_results(study.folder),
        "test_accesses": shown["accesses"],
        "provenance": dict([*shown["facts"], *shown["base_facts"]]),
    }
