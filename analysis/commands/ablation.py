"""``python -m analysis ablation``."""

from __future__ import annotations

from argparse import Namespace

from analysis.commands import Result
from analysis.report.arms import effect_notes, effect_tables
from analysis.results.effects import effects
from analysis.tables import Records


def run(study: Records, options: Namespace) -> Result:
    """The effects as a table a metric and kind, with what must be said beside them."""
    table = effects(study, options.metric)
    return Result(table, effect_tables(study, table), effect_notes(study, table))
