"""report.html: one file that tells a study to somebody who was not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from analysis.choice.confirmation import confirmed_table
from analysis.choice.held import held_trials
from analysis.choice.selection import NoSelection, Selection, select, summary_row
from analysis.numbers import (
    metric_label,
    number,
    parameter_label,
    plain_time,
    score_label,
    value_text,
    with_unit,
)
from analysis.report import figures, findings, sections
from analysis.report.advice import Advice, advice_of, prices_table
from analysis.report.arms import arms
from analysis.report.methods import methods_text, objective_text
from analysis.results.final_test import load_results
from analysis.results.importance import importance_notes
from analysis.statistics.compare import form_for, set_label
from analysis.table_files import SUMMARY
from analysis.tables import Records
from study.records.files import write_bytes
from study.terminal import visible

_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Report:
    """What a study says.

    Attributes:
        html: the page.
        content: the numbers behind it, for ``--json``: name, recipe, demo, counts (of trials by
            status), faults, methods (the text), problem (why nothing was chosen), selection,
            validation (chosen beside base), held (how surely each trial holds the floor), advice
            (see ``analysis.report.advice``), front, hypervolume, importance (with
            importance_notes), effects, confirmation, remarks, final_test, test_accesses,
            provenance. Tables are DataFrames; what the study does not have is None.
    """

    html: str
    content: Mapping[str, Any]


def write_report(study: Records, *, advice: Advice | None = None) -> Path:
    """Write report.html into the run's folder and return its path.

    Args:
        study: its records; a study without trials, or without a selection, is told as such.
        advice: for the next study, where it is in hand.
    """
    return write_made(study, make_report(study, advice=advice))


def write_made(study: Records, report: Report) -> Path:
    """Write a report that is in hand and return its path."""
    write_bytes(study.folder.report, report.html.encode())
    return study.folder.report


def make_report(
    study: Records, now: datetime | None = None, *, advice: Advice | None = None
) -> Report:
    """Ask the study everything once: the page and the numbers behind it."""
    shown, content = _answers(study, now or datetime.now(UTC), advice or advice_of(study))
    return Report(page_of("report.html.j2", shown), content)


def page_of(template: str, shown: Mapping[str, Any]) -> str:
    """A page of the folder ``templates``; names that runs and files have in it are `visible`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= _FILTERS
    return visible(environment.get_template(template).render(shown))


def _percent(value: Any, model: str = "") -> str:
    return form_for(model)(value)


def _ends(interval: tuple[Any, Any], model: str = "") -> str:
    """An interval in brackets; empty where there is none."""
    low, high = interval
    return "" if pd.isna(low) else f"[{_percent(low, model)}, {_percent(high, model)}]"


# How the template writes what the study answers.
_FILTERS: dict[str, Callable[..., str]] = {
    "percent": _percent,
    "ends": _ends,
    "unit": with_unit,
    "number": number,
    "text": value_text,
    "time": plain_time,
    "label": partial(metric_label, unit=""),
    "short": partial(metric_label, unit="", short=True),
    "score": score_label,
    "parameter": parameter_label,
    "set": set_label,
}


def _answers(
    study: Records, now: datetime, advice: Advice
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Everything that the template shows, as plain values, and the tables behind it."""
    selection, problem = _selected(study)
    compared = sections.comparison(study, selection) if selection else None
    front = findings.front(study)
    importance, why_none = findings.importance_of(study)
    of_arms = arms(study)
    effects = of_arms["effects"] if of_arms else None
    held = held_trials(study)
    shown = {
        "metric": study.metric,
        "has_path": study.has_path,
        "objective": objective_text(study),
        "floor": study.floor,
        "summary": SUMMARY,
        "made": f"{now:%d %B %Y, %H:%M} UTC",
        "problem": problem,
        "faults": study.faults,
        "methods": methods_text(study),
        "front": findings.front_facts(study, selection, front),
        "importance": findings.importance_rows(importance),
        "no_importance": why_none,
        "arms": of_arms,
        "detects": findings.score_rows(study, selection),
        "remarks": findings.remarks(study),
        "accesses": findings.accesses(study),
        **sections.header(study),
        **sections.choice(study, selection, compared, held),
        "confirmation": findings.confirmation_rows(study),
        "final": sections.final(study),
        "trials": sections.trials(study, selection, held),
        "failures": findings.failures(study),
        "edges": [edge.text for edge in advice.edges],
        "longer": advice.budget.text if advice.budget else "",
        "prices": advice.prices,
        "floors": prices_table(advice.prices).to_dict("split") if advice.prices else None,
        **sections.provenance(study),
        **figures.all_figures(study, selection, front, importance, effects),
        **figures.of_advice(study, advice, held),
    }
    told = ("name", "recipe", "demo", "counts", "faults", "methods", "problem", "remarks")
    notes = [why_none] if why_none else []
    content = {
        **{key: shown[key] for key in told},
        "front": front.table if front else None,
        "hypervolume": findings.volume(front) if front else None,
        "importance": importance,
        "importance_notes": notes if importance is None else importance_notes(importance),
        "final_test": load_results(study.folder),
        "test_accesses": shown["accesses"],
        "provenance": dict([*shown["facts"], *shown["base_facts"]]),
        "selection": summary_row(selection) if selection else None,
        "confirmation": confirmed_table(study),
        "validation": compared,
        "effects": effects,
        "held": held,
        "advice": advice.plain(),
    }
    return shown, content


def _selected(study: Records) -> tuple[Selection | None, str]:
    """The choice, or None and the sentence that says why there is none."""
    try:
        return select(study), ""
    except NoSelection as error:
        return None, error.why
