"""``python -m analysis export``."""

from __future__ import annotations

from argparse import Namespace

from analysis.commands import Result
from analysis.report.papers import export_openood
from analysis.statistics.compare import WINNER
from analysis.tables import Records


def run(study: Records, _: Namespace) -> Result:
    """The files written, and the winner's by the study's own score as a table."""
    written = export_openood(study)
    content = {str(path): table for path, table in written.items()}
    own = [path for path in written if path.stem == f"{WINNER}_{study.own_score}"]
    tables = {f"{path}, % (OOD positive)": written[path].round(2) for path in own}
    return Result(content, tables, [str(path) for path in written])
