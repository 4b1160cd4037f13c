"""The picture of what detects against how surely the floor on ID accuracy holds."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.choice.held import held_trials
from analysis.choice.selection import best_trial
from analysis.plots import style
from analysis.tables import Records
from study.errors import BadInput, Fault


def held(study: Records, table: pd.DataFrame | None = None) -> Figure:
    """The study's metric of every trial over the probability that its floor holds.

    Args:
        study: its records.
        table: what ``analysis.choice.held.held_trials`` gave, where it is in hand.

    Raises:
        BadInput: where the study has no floor, or no trial has the probability.
    """
    table = held_trials(study) if table is None else table
    table = table[table["holds"].notna()]
    if table.empty:
        rule = "no trial has a probability that the floor holds, so there is nothing to draw"
        raise BadInput(Fault(str(study.folder.trials), "val/floor_holds", rule))
    metric, best = study.detection_metric, best_trial(study)
    with style.drawing(2.8) as (figure, axes):
        style.statuses(axes, table, "holds", metric, clip_on=False)
        chosen = table[table["trial_id"] == best]
        if len(chosen):
            style.ring(axes, chosen["holds"], chosen[metric], label="chosen", clip_on=False)
        if study.floor and study.floor.confidence is not None:
            line: style.Look = {"color": style.VERMILION, "lw": 1, "ls": style.DASHED}
            axes.axvline(study.floor.confidence, label="confidence asked for", **line)
        axes.set_xlim(-0.02, 1.02)
        style.percent_axis(axes.xaxis)
        axes.set_xlabel("Probability that the floor holds (%)")
        style.metric_axis(axes.yaxis, metric, short=False)
        style.legend(figure, axes, ncols=3, columnspacing=1.2, handletextpad=0.4)
    return figure
