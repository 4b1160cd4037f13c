"""Several runs side by side as one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis.joined import Joined
from analysis.report.figures import picture
from analysis.report.page import page_of
from study.errors import BadInput
from study.records.files import write_bytes


def write_comparison(
    path: Path, joined: Joined, tables: Mapping[str, pd.DataFrame], lines: Sequence[str]
) -> Path:
    """Write the page and return its path.

    Args:
        path: of the file, HTML.
        joined: the runs.
        tables: of texts, by title.
        lines: sentences: what compares, and what does not.
    """
    try:
        trade = picture(joined.plots.trade(), "What each run can have at once")
    except BadInput:
        trade = None  # no run has a trial to draw
    shown = {
        "names": list(joined.studies),
        "tables": [(title, one.to_dict("split")) for title, one in tables.items()],
        "lines": lines,
        "trade": trade,
    }
    page = page_of("comparison.html.j2", shown)
    write_bytes(path, page.encode())
    return path
