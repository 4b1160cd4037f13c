"""The picture of a confirmation: what the search found beside what fresh seeds gave."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.choice.confirmation import confirmed_table
from analysis.numbers import metric_label
from analysis.plots.style import (
    BLUE,
    COLUMN_IN,
    GREY,
    ORANGE,
    VERMILION,
    new_figure,
    percent_axis,
    styled,
)
from analysis.tables import Records
from study.errors import BadInput, Fault
from study.scoring.objective import OBJECTIVE


def confirmed(study: Records) -> Figure:
    """Each candidate's value in the search beside its runs on fresh seeds and their mean.

    Raises:
        BadInput: where no confirmation has ended, or none of its runs has a value.
    """
    table = confirmed_table(study)
    if table.empty or table["mean"].isna().all():
        rule = "no candidate was trained anew to the end, so there is nothing to set beside it"
        raise BadInput(Fault(str(study.folder.trials), "confirms", rule))
    with styled():
        figure, axes = new_figure(COLUMN_IN, 1.2 + 0.36 * len(table))
        for place, row in enumerate(table.to_dict("records")):
            _draw(axes, place, row)
        names = [f"{r['trial_id']}{' (wins)' if r['winner'] else ''}" for _, r in table.iterrows()]
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        percent_axis(axes, x=study.metric != OBJECTIVE)
        axes.set_xlabel(metric_label(study.metric).replace(", ID positive", ""))
        axes.margins(x=0.06)
        found = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        figure.legend(
            found.values(),
            found.keys(),
            loc="outside upper right",
            ncols=3,
            handletextpad=0.1,
            columnspacing=1.2,
        )
    return figure


def _draw(axes: Axes, place: int, row: Mapping[Hashable, Any]) -> None:
    colour = VERMILION if row["winner"] else BLUE if row["passes"] else GREY
    values = np.asarray(row["values"], dtype=np.float64)
    if np.isfinite(row["discovery"]):
        axes.scatter(
            row["discovery"], place, marker="D", s=26, facecolors="white", edgecolors=ORANGE,
            linewidths=1.2, zorder=3, label="search",
        )  # fmt: skip
    if not pd.isna(row["low"]):
        axes.plot([row["low"], row["high"]], [place, place], color=colour, lw=1.4, zorder=2)
    axes.scatter(
        values, np.full(len(values), place + 0.22), marker="|", s=40, color=GREY, lw=1.1,
        zorder=3, label="fresh seeds",
    )  # fmt: skip
    if np.isfinite(row["mean"]):
        axes.scatter(row["mean"], place, s=24, color=colour, zorder=4, label="mean, 95 %")
