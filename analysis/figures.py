"""The report's figures as pictures inside the page; what cannot be drawn is left out."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from analysis import margin_plots, plots, plots_search, score_plots
from analysis.effects import STEP
from analysis.pareto import Front
from analysis.plots_ablation import forest
from analysis.selection import Selection
from analysis.style import metric_label, parameter_label, score_label
from analysis.tables import Records
from study.errors import BadInput


@dataclass(frozen=True)
class Picture:
    """A figure in the page.

    Attributes:
        source: ``data:`` address of an SVG or a PNG.
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


def all_figures(
    study: Records,
    selection: Selection | None,
    front: Front | None = None,
    importance: pd.DataFrame | None = None,
    effects: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Every figure of the report under its name in the template: a Picture, None, or a list."""
    metric = metric_label(study.detection_metric, "")
    slices = [
        _drawn(
            lambda column=column: plots.slice_of(study, column),  # type: ignore[misc]
            f"Objective over {parameter_label(column)}",
        )
        for column in study.searched
        if study.trials[column].astype(str).nunique() > 1
    ]
    return {
        "trade": _drawn(lambda: plots.trade(study, front), f"{metric} against ID accuracy"),
        "rungs": _drawn(lambda: plots_search.rungs(study), "Curves of all trials, and survivors"),
        "times": _drawn(lambda: plots_search.times(study), f"{metric} over training time"),
        "parallel": _drawn(lambda: plots.parallel(study), "Parallel coordinates of all trials"),
        "slices": [one for one in slices if one],
        "calibration": _drawn(
            lambda: margin_plots.calibration(study), "Energies reached over margins given"
        ),
        **_of_importance(study, importance),
        **_of_arms(effects),
        **_of_choice(study, selection),
    }


def _of_importance(study: Records, table: pd.DataFrame | None) -> dict[str, Any]:
    if table is None:
        return {"importance_bars": None, "contours": []}
    bars = _drawn(lambda: plots_search.importance_bars(table), "Importance of the parameters")
    contours = [
        _drawn(
            lambda x=x, y=y: plots_search.contour(study, x, y),  # type: ignore[misc]
            f"Rank of the objective over {parameter_label(x)} and {parameter_label(y)}",
        )
        for x, y in plots_search.numeric_pairs(study, table)
    ]
    return {"importance_bars": bars, "contours": [one for one in contours if one]}


def _of_arms(effects: pd.DataFrame | None) -> dict[str, Any]:
    """A forest for each metric, and the path's steps where the design is one."""
    if effects is None:
        return {"forests": []}
    kinds = [None, STEP] if (effects["kind"] == STEP).any() else [None]
    drawn = [
        _drawn(
            lambda m=metric, k=kind: forest(effects, m, k),  # type: ignore[misc]
            f"{'Steps of the path' if kind else 'Effects'}, {metric_label(str(metric), '')}",
        )
        for metric in effects["metric"].unique()
        for kind in kinds
    ]
    return {"forests": [one for one in drawn if one]}


def _of_choice(study: Records, selection: Selection | None) -> dict[str, Any]:
    if selection is None:
        return {"learning": None, "histograms": [], "roc": None, "energies": None, "panel": None}
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
    return {
        "learning": learning,
        "histograms": histograms,
        "roc": _drawn(lambda: score_plots.roc(study, trial_id, epoch), f"ROC, {label} score"),
        "energies": _drawn(
            lambda: margin_plots.energies(study, trial_id, epoch), "Energies and margins"
        ),
        "panel": _panel(study, trial_id),
    }


def _panel(study: Records, trial_id: str) -> Picture | None:
    """The last panel of reconstructions and saliency maps that a trial left."""
    found = sorted((study.folder.panels / trial_id).glob("epoch_*.png"))
    if not found:
        return None
    code = base64.b64encode(found[-1].read_bytes()).decode()
    epoch = found[-1].stem.removeprefix("epoch_").lstrip("0")
    alt = f"Reconstructions and saliency maps of trial {trial_id} at epoch {epoch}"
    return Picture(f"data:image/png;base64,{code}", alt)
