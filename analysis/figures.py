"""The report's figures as pictures inside the page; what cannot be drawn is left out."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis import plots, score_plots
from analysis.selection import Selection
from analysis.style import metric_label, parameter_label, score_label
from analysis.tables import Records
from study.errors import BadInput


@dataclass(frozen=True)
class Picture:
    """A figure in the page.

    Attributes:
        source: ``data:`` address of an SVG.
        alt: what it shows, for those who cannot see it.
    """

    source: str
    alt: str


def picture(figure: Figure, alt: str) -> Picture:
    """Embed a figure as SVG.

    As an image and not as markup: the ids inside two figures would otherwise collide.
    """
    buffer = io.BytesIO()
    # The salt makes the ids, and so the whole report, the same for the same study.
    with mpl.rc_context({"svg.hashsalt": "analysis", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    code = base64.b64encode(buffer.getvalue()).decode()
    return Picture(f"data:image/svg+xml;base64,{code}", alt)


def _drawn(draw: Callable[[], Figure], alt: str) -> Picture | None:
    try:
        return picture(draw(), alt)
    except BadInput:
        return None  # nothing to draw: no trial has the metric, or a record is missing


def all_figures(study: Records, selection: Selection | None) -> dict[str, Any]:
    """trade, learning, parallel (a Picture or None), slices and histograms (lists)."""
    metric = metric_label(study.detection_metric, "")
    slices = [
        _drawn(
            lambda column=column: plots.slice_of(study, column),  # type: ignore[misc]
            f"Objective over {parameter_label(column)}",
        )
        for column in study.searched
        if study.trials[column].nunique() > 1
    ]
    return {
        "trade": _drawn(lambda: plots.trade(study), f"{metric} against ID accuracy"),
        "parallel": _drawn(lambda: plots.parallel(study), "Parallel coordinates of all trials"),
        "slices": [one for one in slices if one],
        **_of_choice(study, selection),
    }


def _of_choice(study: Records, selection: Selection | None) -> dict[str, Any]:
    if selection is None:
        return {"learning": None, "histograms": []}
    trial_id, epoch = selection.trial_id, selection.epoch
    learning = _drawn(
        lambda: plots.learning(study, trial_id), f"Learning curves of trial {trial_id}"
    )
    try:
        drawn = score_plots.histograms(study, trial_id, epoch)
    except BadInput:
        drawn = {}
    label = score_label(selection.score)
    histograms = [
        picture(figure, f"{label} scores, ID against {n}") for n, figure in drawn.items()
    ]
    return {"learning": learning, "histograms": histograms}
