"""Pictures of an ablation: the forest of its effects, and the path of what they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.numbers import is_fraction, metric_label, points, shortened, signed
from analysis.plots import style
from analysis.results.effects import ARM, BASELINE, JOINT, MAIN, STEP, arm_means, effects
from analysis.tables import Records
from study.errors import BadInput, Fault

_WIDE_IN = style.PAGE_IN * 0.85
_FRAME_IN = 1.15
_LONGEST = 42  # characters of an effect's name beside the axis


def forest(
    study: Records,
    metric: str | None = None,
    kind: str | None = None,
    *,
    table: pd.DataFrame | None = None,
) -> Figure:
    """Effects with their intervals around the line of no effect, n and failures beside.

    Blue lies on the better side as a whole interval, red on the worse one, grey covers zero. An
    open point has no interval (one pair).

    Args:
        study: an ablation.
        metric: of the effects; the first of the table where None.
        kind: "arm", "main effect" or "step"; main effects where there are some, else arms.
        table: what ``effects`` gave, where it is in hand.

    Raises:
        BadInput: where no effect of that kind has a pair.
    """
    table = effects(study, metric) if table is None else table
    metric = metric or (str(table["metric"].iloc[0]) if len(table) else "")
    kind = kind or (MAIN if (table["kind"] == MAIN).any() else ARM)
    rows = table[(table["metric"] == metric) & (table["kind"] == kind)]
    if rows.empty or not rows["n"].any():
        rule = f"no {kind} has a pair of finished trials with this metric, so nothing to draw"
        raise BadInput(Fault("ablation", metric, rule))
    with style.drawing(_FRAME_IN + 0.27 * len(rows), _WIDE_IN) as (figure, axes):
        axes.axvline(0, color=style.GREY, lw=1, zorder=1)
        for place, (_, row) in enumerate(rows.iterrows()):
            colour, whole = _colour(row), np.isfinite(row["low"])
            if whole:
                axes.plot(
                    [row["low"], row["high"]], [place, place], color=colour, lw=1.6, zorder=2
                )
            if row["n"]:
                face = colour if whole else "white"
                axes.scatter(
                    [row["mean"]], [place], s=26, facecolors=face, edgecolors=colour, zorder=3
                )
            failed = style.VERMILION if row["num_failed"] else style.DARK
            style.beside(axes, place, _pairs(row), failed)
        style.row_axis(axes, [shortened(name, _LONGEST) for name in rows["effect"]], 0.6, 0.6)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        if is_fraction(metric):
            form = FuncFormatter(lambda v, _: signed(100 * v) if v else "0")
            axes.xaxis.set_major_formatter(form)
        low, high = axes.get_xlim()
        reach = 0.05 * (high - low)
        axes.set_xlim(min(low, -reach), max(high, reach))
        unit = ", points" if is_fraction(metric) else ""
        against = "the arm before" if kind == STEP else "baseline"
        told = f"{metric_label(metric, '')}: difference from {against}{unit}"
        axes.set_xlabel(told + style.better_side(rows["direction"].iloc[0]))
    return figure


def _pairs(row: pd.Series) -> str:
    return f"n = {row['n']}" + (f", {row['num_failed']} failed" if row["num_failed"] else "")


def _colour(row: pd.Series) -> str:
    if not row["low"] * row["high"] > 0 or row["direction"] not in ("min", "max"):
        return style.GREY
    better = (row["mean"] < 0) == (row["direction"] == "min")
    return style.BLUE if better else style.VERMILION


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
    if study.design != "path":
        rule = f"the design is {study.design}: its arms do not follow from each other"
        raise BadInput(Fault(str(study.folder.spec), "ablate.design", rule, "See plots.effects."))
    metric = metric or study.detection_metric
    means = arm_means(study, metric)
    if not means["n"].any():
        rule = "no arm has a finished trial with this metric, so there is nothing to draw"
        raise BadInput(Fault("ablation", metric, rule))
    table = effects(study, metric)
    steps = table[table["kind"] == STEP].set_index("effect")
    with style.drawing(_FRAME_IN + 0.36 * len(means), _WIDE_IN) as (figure, axes):
        places = range(len(means))
        for _, rows in study.trials.groupby("seed"):
            values = rows[rows["status"] == "finished"].set_index("arm")[metric]
            axes.plot(values.reindex(means["arm"]), places, color=style.PALE, lw=0.9)
        axes.plot(means["mean"], places, "-o", color=style.BLUE, ms=5, lw=1.8, zorder=3)
        for place, arm in enumerate(means["arm"]):
            if arm in steps.index:
                colour = _colour(steps.loc[arm])
                colour = style.DARK if colour == style.GREY else colour
                style.beside(axes, place, _step(steps.loc[arm]), colour)
        style.row_axis(axes, _added(list(means["arm"])), 0.4, 0.4)
        if is_fraction(metric):
            style.percent_axis(axes.xaxis)
        axes.margins(x=0.08)
        told = metric_label(metric, " (%)" if is_fraction(metric) else "")
        axes.set_xlabel(told + style.better_side(table["direction"].iloc[0]))
    return figure


def _added(arms: Sequence[str]) -> list[str]:
    """What each arm adds to the one above it."""
    names = list(arms[:1])
    for before, arm in pairwise(arms):
        start = "" if before == BASELINE else f"{before}{JOINT}"
        names.append(f"+ {arm.removeprefix(start)}")
    return [shortened(name, _LONGEST) for name in names]


def _step(row: pd.Series) -> str:
    form = points if is_fraction(str(row["metric"])) else signed
    told = form(row["mean"])
    if np.isfinite(row["low"]):
        told += f" [{form(row['low'])}, {form(row['high'])}]"
    return f"{told}, {_pairs(row)}"
