"""Pictures of an ablation: the forest of its effects."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.effects import ARM, MAIN
from analysis.effects_view import is_fraction
from analysis.style import BLUE, GREY, PAGE_IN, VERMILION, metric_label, new_figure, styled
from study.errors import BadInput, Fault

_ROW_IN = 0.27
_FRAME_IN = 1.15
_LONGEST = 42  # characters of an effect's name beside the axis


def forest(table: pd.DataFrame, metric: str | None = None, kind: str | None = None) -> Figure:
    """Effects with their intervals around the line of no effect, n and failures beside.

    Blue lies on the better side as a whole interval, red on the worse one, grey covers zero. An
    open point has no interval (one pair).

    Args:
        table: what ``effects`` gives.
        metric: of the table; its first where None.
        kind: "arm", "main effect" or "step"; main effects where there are some, else arms.

    Raises:
        BadInput: where no effect of that kind has a pair.
    """
    metric = metric or (str(table["metric"].iloc[0]) if len(table) else "")
    kind = kind or (MAIN if (table["kind"] == MAIN).any() else ARM)
    rows = table[(table["metric"] == metric) & (table["kind"] == kind)]
    if rows.empty or not rows["n"].any():
        rule = f"no {kind} has a pair of finished trials with this metric, so nothing to draw"
        raise BadInput(Fault("ablation", metric, rule))
    rows = rows.reset_index(drop=True)
    with styled():
        figure, axes = new_figure(PAGE_IN * 0.85, _FRAME_IN + _ROW_IN * len(rows))
        axes.axvline(0, color=GREY, lw=1, zorder=1)
        for place, row in rows.iterrows():
            _draw(axes, int(str(place)), row)
        axes.set_yticks(range(len(rows)), [_short(name) for name in rows["effect"]])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        _label(axes, metric, rows)
    return figure


def _draw(axes: Axes, place: int, row: pd.Series) -> None:
    colour = _colour(row)
    if np.isfinite(row["low"]):
        axes.plot([row["low"], row["high"]], [place, place], color=colour, lw=1.6, zorder=2)
    if row["n"]:
        face = colour if np.isfinite(row["low"]) else "white"
        axes.scatter([row["mean"]], [place], s=26, facecolors=face, edgecolors=colour, zorder=3)
    told = f"n = {row['n']}"
    if row["num_failed"]:
        told += f", {row['num_failed']} failed"
    axes.annotate(
        told,
        (1.01, place),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=7.5,
        color="#333333" if not row["num_failed"] else VERMILION,
    )


def _colour(row: pd.Series) -> str:
    if not row["low"] * row["high"] > 0 or row["direction"] not in ("min", "max"):
        return GREY
    better = (row["mean"] < 0) == (row["direction"] == "min")
    return BLUE if better else VERMILION


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _label(axes: Axes, metric: str, rows: pd.DataFrame) -> None:
    fraction = is_fraction(metric)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    if fraction:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:+.3g}" if v else "0"))
    low, high = axes.get_xlim()
    reach = 0.05 * (high - low)
    axes.set_xlim(min(low, -reach), max(high, reach))
    unit = ", points" if fraction else ""
    better = {"min": "\u2190 better", "max": "better \u2192"}.get(str(rows["direction"].iloc[0]))
    against = "baseline" if rows["kind"].iloc[0] != "step" else "the arm before"
    told = f"{metric_label(metric, '')}: difference from {against}{unit}"
    axes.set_xlabel(f"{told}   ({better})" if better else told)
