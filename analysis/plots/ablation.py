"""Pictures of an ablation: the forest of its effects, and the path of what they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.numbers import is_fraction, metric_label, points, signed
from analysis.plots.style import (
    BLUE,
    GREY,
    PAGE_IN,
    PALE,
    VERMILION,
    new_figure,
    percent_axis,
    styled,
)
from analysis.results.effects import (
    ARM,
    BASELINE,
    JOINT,
    MAIN,
    STEP,
    arm_means,
    design_of,
    effects,
)
from analysis.tables import Records
from study.errors import BadInput, Fault

_ROW_IN = 0.27
_PATH_ROW_IN = 0.36
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
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: signed(100 * v) if v else "0"))
    low, high = axes.get_xlim()
    reach = 0.05 * (high - low)
    axes.set_xlim(min(low, -reach), max(high, reach))
    unit = ", points" if fraction else ""
    better = {"min": "\u2190 better", "max": "better \u2192"}.get(str(rows["direction"].iloc[0]))
    against = "baseline" if rows["kind"].iloc[0] != "step" else "the arm before"
    told = f"{metric_label(metric, '')}: difference from {against}{unit}"
    axes.set_xlabel(f"{told}   ({better})" if better else told)


def path(study: Records, metric: str | None = None) -> Figure:
    """The arms of a path from the baseline down: each keeps what the one above it changed.

    Thin lines join the trials of one seed, the heavy one the means over seeds; beside each step
    its paired difference from the arm above, with its interval.

    Args:
        study: an ablation of the design ``path``.
        metric: column ``val/...``; the one that the study detects by where None.

    Raises:
        BadInput: for another design, or where no arm has a value of the metric.
    """
    if design_of(study) != "path":
        rule = f"the design is {design_of(study)}: its arms do not follow from each other"
        raise BadInput(Fault(str(study.folder.spec), "ablate.design", rule, "See plot_effects."))
    metric = metric or study.detection_metric
    means = arm_means(study, metric)
    if not means["n"].any():
        rule = "no arm has a finished trial with this metric, so there is nothing to draw"
        raise BadInput(Fault("ablation", metric, rule))
    table = effects(study, metric)
    steps = table[table["kind"] == STEP].set_index("effect")
    with styled():
        figure, axes = new_figure(PAGE_IN * 0.85, _FRAME_IN + _PATH_ROW_IN * len(means))
        for _, rows in study.trials.groupby("seed"):
            values = rows[rows["status"] == "finished"].set_index("arm")[metric]
            axes.plot(values.reindex(means["arm"]), range(len(means)), color=PALE, lw=0.9)
        axes.plot(means["mean"], range(len(means)), "-o", color=BLUE, ms=5, lw=1.8, zorder=3)
        for place, arm in enumerate(means["arm"]):
            if arm in steps.index:
                _tell_step(axes, place, steps.loc[arm])
        axes.set_yticks(range(len(means)), _added(list(means["arm"])))
        axes.set_ylim(len(means) - 0.6, -0.4)
        axes.grid(visible=False, axis="y")
        percent_axis(axes, x=is_fraction(metric))
        axes.margins(x=0.08)
        better = {"min": "← better", "max": "better →"}.get(str(table["direction"].iloc[0]))
        told = metric_label(metric, " (%)" if is_fraction(metric) else "")
        axes.set_xlabel(f"{told}   ({better})" if better else told)
    return figure


def _added(arms: Sequence[str]) -> list[str]:
    """What each arm adds to the one above it."""
    names = list(arms[:1])
    for before, arm in pairwise(arms):
        start = "" if before == BASELINE else f"{before}{JOINT}"
        names.append(f"+ {arm.removeprefix(start)}")
    return [_short(name) for name in names]


def _tell_step(axes: Axes, place: int, row: pd.Series) -> None:
    form = points if is_fraction(str(row["metric"])) else signed
    told = form(row["mean"])
    if np.isfinite(row["low"]):
        told += f" [{form(row['low'])}, {form(row['high'])}]"
    told += f", n = {row['n']}" + (f", {row['num_failed']} failed" if row["num_failed"] else "")
    axes.annotate(
        told, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=7.5,
        color=_colour(row) if _colour(row) != GREY else "#333333",
    )  # fmt: skip
