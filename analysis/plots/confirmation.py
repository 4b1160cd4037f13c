"""The picture of a confirmation: what the search found beside what fresh seeds gave."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analysis.choice.confirmation import confirmed_table
from analysis.plots import style
from analysis.tables import Records
from study.errors import BadInput, Fault


def confirmed(study: Records) -> Figure:
    """Each candidate's value in the search beside its runs on fresh seeds and their mean.

    Raises:
        BadInput: where no confirmation has ended, or none of its runs has a value.
    """
    table = confirmed_table(study)
    if table.empty or table["mean"].isna().all():
        rule = "no candidate was trained anew to the end, so there is nothing to set beside it"
        raise BadInput(Fault(str(study.folder.trials), "confirms", rule))
    with style.drawing(1.2 + 0.36 * len(table)) as (figure, axes):
        for place, row in enumerate(table.to_dict("records")):
            passes = style.BLUE if row["passes"] else style.GREY
            colour = style.VERMILION if row["winner"] else passes
            if np.isfinite(row["discovery"]):
                axes.scatter(
                    row["discovery"], place, marker="D", s=26, facecolors="white",
                    edgecolors=style.ORANGE, linewidths=1.2, zorder=3, label="search",
                )  # fmt: skip
            if np.isfinite(row["low"]):
                axes.plot(
                    [row["low"], row["high"]], [place, place], color=colour, lw=1.4, zorder=2
                )
            heights = np.full(len(row["values"]), place + 0.22)
            axes.scatter(
                row["values"], heights, marker="|", s=40, color=style.GREY, lw=1.1, zorder=3,
                label="fresh seeds",
            )  # fmt: skip
            if np.isfinite(row["mean"]):
                axes.scatter(row["mean"], place, s=24, color=colour, zorder=4, label="mean, 95 %")
        marks = table["winner"].map({True: " (wins)", False: ""})
        style.row_axis(axes, list(table["trial_id"] + marks))
        style.metric_axis(axes.xaxis, study.metric)
        axes.margins(x=0.06)
        style.legend(figure, axes, "right", ncols=3, handletextpad=0.1, columnspacing=1.2)
    return figure
