"""``python -m analysis report``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from analysis.choice.held import with_held
from analysis.choice.selection import NoSelection, rank_candidates
from analysis.choice.whole import refuse_changed
from analysis.commands import Result
from analysis.report.hold_outs import write_overview
from analysis.report.page import make_report, write_made
from analysis.report.papers import candidates_table, effects_table, results_table
from analysis.tables import Records


def run(study: Records, options: Namespace) -> Result:
    """The page, written; its path, or the main results as LaTeX, on stdout."""
    refuse_changed(study)
    made = make_report(study)
    path = write_made(study, made)
    content = {"report": str(path), **made.content}
    if not options.latex:
        return Result(content, lines=[str(path)])
    effects = content["effects"]
    tables = [
        "" if effects is None else effects_table(study, effects),
        results_table(study, content["validation"]),
        "" if effects is not None else _candidates(study),
    ]
    told = "\n".join(table for table in tables if table)
    return Result(content, lines=[told or f"% {study.name}: no results to tabulate yet"])


def run_all(studies: Sequence[Records], options: Namespace) -> Result:
    """A page for each hold-out, and one over all of them."""
    results = {study.name: run(study, options) for study in studies}
    page = write_overview(studies[0].folder.path.parent, studies)
    content = {"report": str(page)} | {name: one.content for name, one in results.items()}
    lines = [line for one in results.values() for line in one.lines]
    return Result(content, lines=lines if options.latex else [*lines, str(page)])


def _candidates(study: Records) -> str:
    """The candidates as LaTeX; empty where there is none."""
    try:
        return candidates_table(study, with_held(study, rank_candidates(study)))
    except NoSelection:
        return ""
