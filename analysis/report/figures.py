"""The report's figures as pictures inside the page; what cannot be drawn is left out."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from analysis.choice.pareto import Front
from analysis.choice.selection import Selection
from analysis.numbers import metric_label, parameter_label, score_label
from analysis.plots import (
    ablation,
    budget,
    confirmation,
    floor,
    margins,
    path,
    scores,
    search,
    trials,
)
from analysis.report.advice import Advice
from analysis.tables import Records
from study.errors import BadInput

_MOST_PANELS = 6
_DPI = 220  # of what is drawn as pixels: the curves of a very large study


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
        figure.savefig(buffer, format="svg", dpi=_DPI, metadata={"Date": None, "Creator": None})
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
            partial(trials.slice_of, study, column), f"Objective over {parameter_label(column)}"
        )
        for column in study.searched
        if study.trials[column].astype(str).nunique() > 1
    ]
    return {
        "trade": _drawn(partial(trials.trade, study, front), f"{metric} against ID accuracy"),
        "rungs": _drawn(partial(search.rungs, study), "Curves of all trials, and survivors"),
        "rungs_told": search.rungs_told(study),
        "confirmed": _drawn(partial(confirmation.confirmed, study), "Candidates on fresh seeds"),
        "panels": _panels(study, selection),
        "times": _drawn(partial(search.times, study), f"{metric} over training time"),
        "parallel": _drawn(partial(trials.parallel, study), "Parallel coordinates of all trials"),
        "slices": _those(slices),
        "calibration": _drawn(
            partial(margins.calibration, study), "Energies reached over margins given"
        ),
        **_of_importance(study, importance),
        **_of_arms(study, effects),
        **_of_choice(study, selection),
    }


def of_advice(study: Records, advice: Advice, table: pd.DataFrame) -> dict[str, Any]:
    """The pictures of what a study says about the next one.

    Args:
        study: its records.
        advice: what it says.
        table: how surely each trial holds the floor.
    """
    draw_held, label = partial(floor.held, study, table), metric_label(study.detection_metric, "")
    expected = None
    if advice.budget is not None:
        figure = budget.expected(study, advice.budget)
        expected = picture(figure, f"Expected {label} of the choice over the number of trials")
    return {
        "held": _drawn(draw_held, f"{label} over the probability that the floor holds"),
        "expected": expected,
    }


def _those(pictures: list[Picture | None]) -> list[Picture]:
    return [one for one in pictures if one]


def _of_importance(study: Records, table: pd.DataFrame | None) -> dict[str, Any]:
    if table is None:
        return {"importance_bars": None, "contours": []}
    bars = partial(search.importance_bars, study, table)
    contours = [
        _drawn(
            partial(search.contour, study, *pair),
            f"Rank of the objective over {' and '.join(map(parameter_label, pair))}",
        )
        for pair in search.numeric_pairs(study, table)
    ]
    return {
        "importance_bars": _drawn(bars, "Importance of the parameters"),
        "contours": _those(contours),
    }


def _of_arms(study: Records, effects: pd.DataFrame | None) -> dict[str, Any]:
    """For each metric the path, where the design is one, and a forest."""
    paths, forests = [], []
    for metric in map(str, [] if effects is None else effects["metric"].unique()):
        label, forest = metric_label(metric, ""), partial(ablation.forest, study, metric)
        paths.append(_drawn(partial(ablation.path, study, metric), f"Steps of the path, {label}"))
        forests.append(_drawn(partial(forest, table=effects), f"Effects, {label}"))
    return {"paths": _those(paths), "forests": _those(forests)}


def _of_choice(study: Records, selection: Selection | None) -> dict[str, Any]:
    if selection is None:
        missing = dict.fromkeys(("learning", "path", "roc", "energies"))
        return {**missing, "histograms": []}
    trial_id, label = selection.trial_id, score_label(selection.score)
    place = (study, trial_id, selection.epoch)
    try:
        drawn = scores.histograms(*place)
    except BadInput:
        drawn = {}
    return {
        "learning": _drawn(
            partial(trials.learning, study, trial_id), f"Learning curves of trial {trial_id}"
        ),
        "path": _drawn(partial(path.path, study, trial_id), f"The path of trial {trial_id}"),
        "histograms": [
            picture(figure, f"{label} scores, ID against {name}") for name, figure in drawn.items()
        ],
        "roc": _drawn(partial(scores.roc, *place), f"ROC, {label} score"),
        "energies": _drawn(partial(margins.energies, *place), "Energies and margins"),
    }


def _panels(study: Records, selection: Selection | None) -> list[Picture]:
    """The last panel of reconstructions and saliency maps of whom the report is about.

    Of the chosen trial, or of the best one that left a panel; of an ablation one trial an arm.
    """
    found = (_panel(study, trial_id, told) for trial_id, told in _panel_trials(study, selection))
    # One by one: a panel that is not shown is not read.
    return list(islice(filter(None, found), _MOST_PANELS if study.section("ablate") else 1))


def _panel_trials(study: Records, selection: Selection | None) -> list[tuple[str, str]]:
    """Trials in the order in which their panels are wanted, and what the panel is called."""
    first = [(selection.trial_id, "the chosen trial, ")] if selection else []
    if not study.section("ablate"):
        rest = list(selection.candidates["trial_id"]) if selection else []
        return first + [(name, "") for name in [*rest, *study.trials["trial_id"]]]
    arms = study.trials.drop_duplicates("arm") if "arm" in study.trials.columns else study.trials
    return [(row["trial_id"], f"{row['arm']}, ") for _, row in arms.iterrows() if row.get("arm")]


def _panel(study: Records, trial_id: str, told: str) -> Picture | None:
    """The last panel that a trial left."""
    found = sorted((study.folder.panels / trial_id).glob("epoch_*.png"))
    if not found:
        return None
    code = base64.b64encode(found[-1].read_bytes()).decode()
    epoch = found[-1].stem.removeprefix("epoch_").lstrip("0")
    alt = f"Reconstructions and saliency maps: {told}trial {trial_id}, epoch {epoch}"
    return Picture(f"data:image/png;base64,{code}", alt)
