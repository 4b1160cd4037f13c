"""How figures look: one palette that colour-blind readers can tell apart, one type size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from analysis.numbers import metric_label
from study.scoring.objective import OBJECTIVE

# Okabe and Ito's palette, https://jfly.uni-koeln.de/color/
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, PALE = "#767676", "#C9C9C9"

STATUS_COLOURS = {
    "finished": BLUE,
    "pruned": PALE,
    "failed": VERMILION,
    "paused": ORANGE,
    "running": SKY,
}

Look = dict[str, Any]  # of matplotlib's marks
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
SMALL = 7.5  # points, of words among the marks
DARK = "#333333"  # of such words
DASHED = (0, (4, 3))
COLUMN_IN = 3.3  # width of a journal's column
PAGE_IN = 7.2

_SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#ECECEC",
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "#333333",
    "ytick.labelcolor": "#333333",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.fonttype": "path",
    "svg.hashsalt": "analysis",
}


@contextmanager
def drawing(height_in: float, width_in: float = COLUMN_IN) -> Iterator[tuple[Figure, Axes]]:
    """An empty figure with one axis, in this project's style whatever the user's settings are."""
    with stacked(height_in, 1, width_in) as (figure, (axes,)):
        yield figure, axes


@contextmanager
def stacked(
    height_in: float, rows: int, width_in: float = COLUMN_IN, **layout: Any
) -> Iterator[tuple[Figure, list[Axes]]]:
    """The same with several axes above each other that share x."""
    with mpl.rc_context(_SETTINGS):  # type: ignore[arg-type]
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        FigureCanvasAgg(figure)  # and so kept out of pyplot's global list
        axes = figure.subplots(rows, 1, sharex=True, squeeze=False, **layout)
        yield figure, list(axes[:, 0])
        for one in axes[:, 0]:
            _within_fractions(one)


class _Percent(FuncFormatter):
    """Ticks of a metric that lies in [0, 1]."""


def _within_fractions(axes: Axes) -> None:
    """Axes of metrics end at 0 and 100 %, with room for the marks that lie there."""
    if isinstance(axes.xaxis.get_major_formatter(), _Percent):
        axes.set_xlim(*_clamped(*axes.get_xlim()))
    if isinstance(axes.yaxis.get_major_formatter(), _Percent):
        axes.set_ylim(*_clamped(*axes.get_ylim()))


def _clamped(low: float, high: float) -> tuple[float, float]:
    room = 0.03 * (min(high, 1.0) - max(low, 0.0))
    return max(low, -room), min(high, 1.0 + room)


def percent_axis(*axes: Axis) -> None:
    """Show fractions as percent; the label says so."""
    for axis in axes:
        axis.set_major_formatter(FuncFormatter(_as_percent))
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _as_percent(value: float, _: int | None) -> str:
    return f"{100 * value:.4g}"


def metric_axis(axis: Axis, metric: str, *, short: bool = True) -> None:
    """Name an axis after a metric, and show fractions as percent."""
    axis.set_label_text(metric_label(metric, short=short))
    if metric != OBJECTIVE:
        percent_axis(axis)
        axis.set_major_formatter(_Percent(_as_percent))


def row_axis(axes: Axes, names: list[str], above: float = 0.5, below: float = 0.5) -> None:
    """Rows from the top down, each with its name; room above the first and below the last."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 1 + below, -above)
    axes.grid(visible=False, axis="y")


def legend(figure: Figure, axes: Axes, side: str = "left", **look: Any) -> None:
    """What the marks of an axis mean, above it, each label once."""
    found = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if found:
        place: Any = f"outside upper {side}"
        figure.legend(found.values(), found.keys(), loc=place, **look)


def beside(axes: Axes, place: float, text: str, colour: str = DARK) -> None:
    """Words at the right of a row."""
    where: Any = ("axes fraction", "data")
    axes.annotate(
        text, (1.01, place), xycoords=where, va="center", fontsize=SMALL, color=colour
    )  # fmt: skip


def statuses(axes: Axes, rows: pd.DataFrame, x: str, y: str, **look: Any) -> None:
    """Trials as points, a look a status: finished ones filled, all others open."""
    for status, colour in STATUS_COLOURS.items():
        some = rows[rows["status"] == status]
        if len(some):
            axes.scatter(
                some[x], some[y], s=22, linewidths=0.9, label=status, zorder=3,
                facecolors=colour if status == "finished" else "white",
                edgecolors=GREY if status == "pruned" else colour, **look,
            )  # fmt: skip


def ring(axes: Axes, x: Any, y: Any, size: float = 95, **look: Any) -> None:
    """Mark the chosen ones."""
    marks: Look = {"facecolors": "none", "edgecolors": BLACK, "lw": 1.3, "zorder": 4} | look
    axes.scatter(x, y, s=size, **marks)


def histogram(axes: Axes, values: Any, edges: Any, colour: str, label: str) -> None:
    """Shares of images as an area with its outline; what lies outside is in the last bars."""
    share = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
    axes.stairs(share, edges, fill=True, color=colour, alpha=0.3)
    axes.stairs(share, edges, color=colour, lw=1.2, label=label)


def better_side(direction: object) -> str:
    """Where on an axis the better values lie, to follow its label."""
    arrows = {"min": "   (\u2190 better)", "max": "   (better \u2192)"}
    return arrows.get(str(direction), "")


def log_axis(axes: Axes, *, x: bool = False, y: bool = False) -> None:
    """Logarithmic axes with few plain labels: a short range would label every minor tick."""
    for axis, name, wanted in ((axes.xaxis, "x", x), (axes.yaxis, "y", y)):
        if wanted:
            axes.set(**{f"{name}scale": "log"})
            axis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=8))
            axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.3g}"))
            axis.set_minor_formatter(NullFormatter())
