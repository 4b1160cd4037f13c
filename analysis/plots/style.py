"""How figures look: one palette that colour-blind readers can tell apart, one type size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

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
def styled() -> Iterator[None]:
    """Draw within this project's style, whatever the user's own settings are."""
    with mpl.rc_context(_SETTINGS):  # type: ignore[arg-type]
        yield


def new_figure(width_in: float = COLUMN_IN, height_in: float = 2.6) -> tuple[Figure, Axes]:
    """An empty figure with one axis, kept out of pyplot's global list."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def percent_axis(axes: Axes, *, x: bool = False, y: bool = False) -> None:
    """Show fractions as percent on the chosen axes; the label says so."""
    for axis, wanted in ((axes.xaxis, x), (axes.yaxis, y)):
        if wanted:
            axis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.4g}"))
            axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def log_axis(axes: Axes, *, x: bool = False, y: bool = False) -> None:
    """Logarithmic axes with few plain labels: a short range would label every minor tick."""
    for axis, set_scale, wanted in (
        (axes.xaxis, axes.set_xscale, x),
        (axes.yaxis, axes.set_yscale, y),
    ):
        if wanted:
            set_scale("log")
            axis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=8))
            axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.3g}"))
            axis.set_minor_formatter(NullFormatter())
