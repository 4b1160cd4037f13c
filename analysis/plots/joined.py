"""The picture of several studies side by side."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from analysis.choice.selection import best_trial
from analysis.plots import style
from analysis.plots.trials import measured_trials
from analysis.tables import Records
from study.scoring.objective import ID_ACCURACY

_MARKERS = ("o", "s", "^", "D", "v", "P")


def trade_of_all(studies: Mapping[str, Records]) -> Figure:
    """The first study's metric against ID accuracy: finished trials of all, the choices ringed.

    Raises:
        BadInput: where a study has no value of that metric.
    """
    metric = next(iter(studies.values())).detection_metric
    with style.drawing(3.0) as (figure, axes):
        for i, (name, study) in enumerate(studies.items()):
            rows = measured_trials(study, metric)
            rows = rows[rows["status"] == "finished"]
            look: style.Look = {"color": style.SERIES[i % 6], "marker": _MARKERS[i % 6], "s": 24}
            axes.scatter(rows[ID_ACCURACY], rows[metric], label=name, zorder=3, **look)
            chosen = rows[rows["trial_id"] == best_trial(study)]
            label = "chosen" if i == len(studies) - 1 else None
            style.ring(axes, chosen[ID_ACCURACY], chosen[metric], label=label)
        style.metric_axis(axes.xaxis, ID_ACCURACY)
        style.metric_axis(axes.yaxis, metric, short=False)
        axes.margins(0.08)
        style.legend(figure, axes, ncols=2, handletextpad=0.4)
    return figure
