"""report.html: one file that tells a study to somebody who was not there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from analysis import figures, findings, sections
from analysis.methods import methods_text
from analysis.selection import NoSelection, Selection, select
from analysis.tables import Records
from study.records import write_bytes

_TEMPLATES = Path(__file__).with_name("templates")


def write_report(study: Records, now: datetime | None = None) -> Path:
    """Write report.html into the run's folder and return its path.

    Args:
        study: its records; a study without trials, or without a selection, is told as such.
        now: the moment that the report names; the present where None.
    """
    html = render(study, now or datetime.now(UTC))
    write_bytes(study.folder.report, html.encode())
    return study.folder.report


def render(study: Records, now: datetime) -> str:
    """The report as one HTML text that needs no network and no other file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2").render(context(study, now))


def context(study: Records, now: datetime) -> Mapping[str, Any]:
    """Everything that the template shows, as plain values."""
    selection: Selection | None = None
    problem = ""
    try:
        selection = select(study)
    except NoSelection as error:
        problem = str(error).removeprefix(f"{study.folder.path}: ")
    front, front_rows = findings.front_and_rows(study, selection)
    importance, why_none = findings.importance_of(study)
    arms = findings.arms(study)
    return {
        "made": f"{now:%d %B %Y, %H:%M} UTC",
        "methods": methods_text(study),
        "front": front_rows,
        "importance": findings.importance_rows(importance),
        "no_importance": why_none,
        "arms": arms,
        "detects": findings.score_rows(study, selection),
        "remarks": findings.remarks(study),
        "accesses": findings.accesses(study),
        "problem": problem,
        "faults": study.faults,
        **sections.header(study),
        **sections.choice(study, selection),
        "final": sections.final(study),
        "trials": sections.trials(study, selection),
        "failures": sections.failures(study),
        **sections.provenance(study),
        **figures.all_figures(
            study, selection, front, importance, arms["effects"] if arms else None
        ),
    }
