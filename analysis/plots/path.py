"""The picture of a trial's path: detection and ID accuracy between the base and its weights."""

from __future__ import annotations

from matplotlib.figure import Figure

from analysis.choice.selection import place_of
from analysis.plots import style
from analysis.plots.trials import base_metric, draw_floor
from analysis.tables import Records
from study.errors import BadInput, Fault
from study.scoring.objective import ALPHA, ID_ACCURACY


def path(study: Records, trial_id: str | None = None) -> Figure:
    """The study's metric (above) and ID accuracy (below) along the path of a trial.

    The epoch that stands for the trial is drawn heavy, other epochs thin.

    Args:
        study: its records.
        trial_id: whose; the chosen trial's where None.

    Raises:
        BadInput: where the trial has no path.
    """
    trial_id, epoch, alpha = place_of(study, trial_id)
    rows = study.states
    own = rows[rows["trial_id"] == trial_id] if study.has_path else rows
    if own.empty:
        rule = f"trial {trial_id} has no path between its base and its weights"
        raise BadInput(Fault(str(study.folder.states), "trial_id", rule))
    metrics = {study.detection_metric: style.BLUE, ID_ACCURACY: style.BLACK}
    with style.stacked(3.2, 2) as (figure, pair):
        for axes, (metric, colour) in zip(pair, metrics.items(), strict=True):
            for one, states in own.groupby("epoch"):
                chosen = one == epoch
                look: style.Look = {"lw": 0.8, "color": style.PALE, "zorder": 2}
                if chosen:
                    look = {"lw": 1.6, "color": colour, "marker": "o", "ms": 3.5, "zorder": 3}
                label = f"epoch {one}" if chosen else "other epochs"
                axes.plot(states[ALPHA], states[metric], label=label, **look)
            value = base_metric(study, metric, trial_id)
            if value is not None:
                diamond: style.Look = {"marker": "D", "s": 30, "color": style.ORANGE}
                axes.scatter(0.0, value, zorder=4, label="base", clip_on=False, **diamond)
            axes.axvline(alpha, color=style.GREY, lw=1, ls=":", label="chosen")
            if metric == ID_ACCURACY:
                draw_floor(study, axes.axhline)
            style.metric_axis(axes.yaxis, metric)
        pair[1].set_xlabel("Place on the path (0: base, 1: as trained)")
        style.legend(figure, pair[1], ncols=3, columnspacing=1.2, handletextpad=0.4)
    return figure
