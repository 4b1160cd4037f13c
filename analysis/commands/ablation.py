"""``python -m analysis ablation``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from analysis.commands import Result
from analysis.report.arms import effect_notes, effect_tables
from analysis.report.hold_outs import overview
from analysis.results.effects import effects
from analysis.tables import Records


def run(study: Records, options: Namespace) -> Result:
    """The effects as a table a metric and kind, with what must be said beside them."""
    table = effects(study, options.metric)
    return Result(table, effect_tables(study, table), effect_notes(study, table))


def run_all(studies: Sequence[Records], options: Namespace) -> Result:
    """The same over several hold-outs, with what each gave."""
    found = overview(studies, options.metric)
    return Result(found.table, found.tables, found.notes)
