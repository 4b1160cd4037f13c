"""Analysis of a study's records: tables, selection, plots, report and the final test's numbers.

    import analysis

    study = analysis.load("runs/energy")
    study.trials, study.epochs          # tidy DataFrames
    study.select()                      # the stated rule, with an interval
    study.plot_trade()                  # matplotlib figures

Reads what a study left on disk and imports neither torch nor Ray.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.study import Study

__all__ = ["load"]


def load(directory: str | Path) -> Study:
    """Read the records of one study.

    Args:
        directory: the run's folder, such as ``runs/energy``.

    Returns:
        The study with ``.trials`` and ``.epochs`` (DataFrames), ``.base``, ``.select()``,
        ``.pareto()`` and plots.

    Raises:
        BadInput: naming the folder or the file that is missing or cannot be read.
    """
    from analysis.study import Study  # pandas and matplotlib only once they are needed

    return Study.open(Path(directory))
