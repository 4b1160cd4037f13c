"""The picture of the expected best at each number of trials."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.plots import style
from analysis.results.budget import Budget, budget_of
from analysis.tables import Records


def expected(study: Records, budget: Budget | None = None) -> Figure:
    """What a search of so many trials is expected to choose, on its own images and on others.

    Args:
        study: its records.
        budget: what ``analysis.results.budget.budget_of`` gave, where it is in hand.

    Raises:
        NoSelection: as `budget_of`.
        NoScores: likewise.
    """
    budget = budget_of(study) if budget is None else budget
    table = budget.table
    with style.drawing(2.6) as (figure, axes):
        band: style.Look = {"color": style.SKY, "alpha": 0.25, "lw": 0}
        axes.fill_between(table["trials"], table["low"], table["high"], label="95 %", **band)
        mark = "o" if len(table) <= 40 else ""
        for name, colour, label in (
            ("other", style.BLUE, "other images"), ("seen", style.ORANGE, "as seen"),
        ):  # fmt: skip
            axes.plot(table["trials"], table[name], color=colour, marker=mark, ms=2.6, label=label)
        axes.set_xlabel("Trials")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        style.metric_axis(axes.yaxis, budget.metric, short=False)
        style.legend(figure, axes, ncols=3, columnspacing=1.0, handletextpad=0.4)
    return figure
