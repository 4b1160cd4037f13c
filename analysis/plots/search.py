"""Pictures of how a search went and what it learned: rungs, contours, importance."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.choice.selection import best_trial
from analysis.numbers import parameter_label, shortened
from analysis.plots import style
from analysis.plots.trials import measured_trials
from analysis.results.importance import METHOD_LABELS, importance
from analysis.statistics.surrogate import as_codes, fit_forest, is_category, space_of
from analysis.tables import Records, under_floor
from study.errors import BadInput, Fault
from study.scoring.objective import OBJECTIVE

_GRID = 48
_METHOD_LOOKS = ((style.BLUE, "o"), (style.ORANGE, "s"), (style.GREEN, "^"))
_MANY = 2000  # epochs of all trials: from there on curves have no marks and become pixels
_LABEL = 26  # characters of a parameter's name beside an axis


def scheduler_of(study: Records) -> str:
    """Who stopped trials early: asha, hyperband, median or none."""
    tune = study.section("tune")
    return "none" if tune.get("objectives") else str(tune.get("scheduler") or "none")


def rungs_of(study: Records) -> tuple[int, ...]:
    """Epochs after which trials are compared and stopped; empty where nobody is.

    ASHA's rungs, and Hyperband's: its brackets begin at different ones of them. The median rule
    compares after every epoch from the grace on.
    """
    tune, scheduler = study.section("tune"), scheduler_of(study)
    rung, factor = int(tune.get("grace_epochs") or 1), int(tune.get("reduction_factor") or 3)
    last = int(study.epochs["epoch"].max()) if len(study.epochs) else 0
    if scheduler == "median":
        return tuple(range(rung, last))
    if scheduler not in ("asha", "hyperband"):
        return ()
    found = []
    while rung < last and factor > 1:
        found.append(rung)
        rung *= factor
    return tuple(found)


def rungs_told(study: Records) -> str:
    """What the picture of survivors shows of this study's trial scheduler, in a sentence."""
    ended = "crosses: where trials ended early."
    if not rungs_of(study):
        return f"No trial scheduler compared trials, so each ran to its end; {ended}"
    return {
        "asha": f"Dotted: the rungs of ASHA, after which trials were stopped; {ended}",
        "hyperband": (
            "Dotted: the rungs of Hyperband; each of its brackets begins at another one, so a "
            f"trial is not stopped before its own bracket's first; {ended}"
        ),
        "median": (
            "Shaded: after each of these epochs a trial worse than the median of the finished "
            f"ones was stopped; {ended}"
        ),
    }[scheduler_of(study)]


def rungs(study: Records, metric: str | None = None) -> Figure:
    """Learning curves of all trials (above), and how many still ran after each epoch (below).

    Args:
        study: its records.
        metric: of the curves; the study's detection metric where None.

    Raises:
        BadInput: if no epoch has the metric.
    """
    metric = metric or study.detection_metric
    epochs = study.epochs
    if metric not in epochs.columns or not len(epochs) or epochs[metric].notna().sum() == 0:
        raise BadInput(Fault(str(study.folder.epochs), metric, "no epoch has this metric"))
    with style.stacked(3.4, 2, height_ratios=[2, 1]) as (figure, (above, below)):
        _curves(above, study, metric)
        reached = epochs.groupby("trial_id")["epoch"].max()
        last = int(reached.max())
        alive = [int((reached >= epoch).sum()) for epoch in range(1, last + 1)]
        edges = np.arange(0.5, last + 1)
        below.stairs(alive, edges, color=style.BLUE, fill=True, alpha=0.25)
        below.stairs(alive, edges, color=style.BLUE, lw=1.4)
        _tell_alive(below, alive, rungs_of(study))
        for one in (above, below):
            _mark_rungs(one, study, last)
        below.set(ylim=(0, 1.28 * max(alive)), xlim=(0.5, last + 0.5))
        below.set_ylabel("Trials")
        below.set_xlabel("Epoch")
        for axis in (below.xaxis, below.yaxis):
            axis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        style.legend(figure, above, ncols=4)
    return figure


def _tell_alive(axes: Axes, alive: list[int], compared: tuple[int, ...]) -> None:
    """Numbers over the steps: at both ends and after each comparison that stopped somebody."""
    told = {1, len(alive), *(epoch + 1 for epoch in compared if epoch < len(alive))}
    shown = None
    for epoch in sorted(told):
        if alive[epoch - 1] == shown and epoch != len(alive):
            continue
        shown = alive[epoch - 1]
        axes.annotate(
            f"{shown}", (epoch, shown), xytext=(0, 2), textcoords="offset points", ha="center",
            fontsize=style.SMALL,
        )  # fmt: skip


def _mark_rungs(axes: Axes, study: Records, last: int) -> None:
    found = rungs_of(study)
    if scheduler_of(study) == "median" and found:
        axes.axvspan(found[0] + 0.5, last + 0.5, color=style.GREY, alpha=0.09, lw=0, zorder=0)
        return
    for rung in found:
        axes.axvline(rung + 0.5, color=style.GREY, lw=0.9, ls=":", zorder=1)


def _curves(axes: Axes, study: Records, metric: str) -> None:
    best = best_trial(study)
    under = set(study.trials["trial_id"][under_floor(study, study.trials)])
    status = study.trials.set_index("trial_id")["status"].astype(str).to_dict()
    many = len(study.epochs) > _MANY
    marks: style.Look = {} if many else {"marker": "o", "ms": 2.6}
    for trial_id, rows in study.epochs.groupby("trial_id"):
        kind = status.get(str(trial_id), "failed")
        chosen, done = trial_id == best, kind == "finished"
        look: style.Look = {"color": style.BLUE if done else style.PALE, "lw": 0.9}
        look["zorder"] = 3 if done else 2
        if chosen:
            look = {"color": style.VERMILION, "lw": 2.0, "zorder": 4}
        if trial_id in under:
            look["ls"] = style.DASHED
        look |= {"rasterized": many and not chosen, **marks}
        axes.plot(rows["epoch"], rows[metric], label="chosen" if chosen else kind, **look)
        if kind in ("pruned", "failed"):
            end = rows.iloc[-1]
            axes.scatter(
                end["epoch"], end[metric], marker="x", s=16, lw=0.9, zorder=5, rasterized=many,
                c=style.VERMILION if kind == "failed" else style.GREY,
            )  # fmt: skip
    style.metric_axis(axes.yaxis, metric)


def contour(study: Records, x: str, y: str, metric: str = OBJECTIVE) -> Figure:
    """The rank of a metric over two parameters, as a random forest interpolates the trials.

    Colour is the mean of the forest's prediction over the trials' values of all other
    parameters; dots are trials. Dark is better. A surface from few trials is a sketch.

    Args:
        study: its records.
        x: a searched column ``param/...`` with numbers.
        y: another.
        metric: whose ranks are shown, at the budget of ``analysis.statistics.surrogate.space_of``.

    Raises:
        BadInput: for a parameter that was not searched or has no numbers, or too few trials.
    """
    space = space_of(study, metric)
    for column in (x, y):
        if column not in space.columns or is_category(space.values[column]):
            rule = "a contour needs two searched parameters with numbers of several values"
            raise BadInput(Fault(str(study.folder.trials), column, rule))
    i, j = space.columns.index(x), space.columns.index(y)
    forest = fit_forest(space.codes, space.cost, seed=0, num_trees=128)
    xs, ys = (np.linspace(space.codes[:, k].min(), space.codes[:, k].max(), _GRID) for k in (i, j))
    surface = _averaged(forest, space.codes, i, j, xs, ys)
    with style.drawing(2.8) as (figure, axes):
        drawn = axes.contourf(
            _back(xs, study, x), _back(ys, study, y), surface, levels=9, cmap="cividis", alpha=0.9
        )
        best = best_trial(study)
        px, py = _back(space.codes[:, i], study, x), _back(space.codes[:, j], study, y)
        dots: style.Look = {"c": "white", "edgecolors": style.BLACK, "linewidths": 0.6}
        rows = study.trials.set_index("trial_id").loc[list(space.trial_id)]
        under = under_floor(study, rows)
        axes.scatter(px[~under], py[~under], s=14, zorder=3, clip_on=False, **dots)
        cross: style.Look = {"marker": "x", "c": style.VERMILION, "s": 16, "lw": 1}
        axes.scatter(px[under], py[under], zorder=3, clip_on=False, **cross)
        if best in space.trial_id:
            k = space.trial_id.index(best)
            star: style.Look = {"marker": "*", "c": style.VERMILION, "ec": "white", "lw": 0.7}
            axes.scatter(px[k], py[k], s=90, zorder=4, **star)
        style.log_axis(axes, x=study.is_log(x), y=study.is_log(y))
        axes.grid(visible=False)
        axes.set_xlabel(parameter_label(x))
        axes.set_ylabel(parameter_label(y))
        bar = figure.colorbar(drawn, ax=axes, pad=0.02)
        bar.set_label("Rank (0 = best)", fontsize=8)
        bar.ax.yaxis.set_major_locator(MaxNLocator(5))
        bar.outline.set_visible(False)
    return figure


def _averaged(forest: Any, codes: Any, i: int, j: int, xs: Any, ys: Any) -> Any:
    """Partial dependence on two columns, (len(ys), len(xs))."""
    some = codes[np.linspace(0, len(codes) - 1, min(len(codes), 40)).astype(int)]
    gx, gy = (one.ravel() for one in np.meshgrid(xs, ys))
    grid = np.repeat(some[None], len(gx), axis=0)
    grid[:, :, i], grid[:, :, j] = gx[:, None], gy[:, None]
    predicted = forest.predict(grid.reshape(-1, codes.shape[1]))
    return predicted.reshape(len(gx), -1).mean(axis=1).reshape(len(ys), len(xs))


def _back(codes: Any, study: Records, column: str) -> Any:
    return 10**codes if study.is_log(column) else codes


def importance_bars(study: Records, table: pd.DataFrame | None = None) -> Figure:
    """Importance of each parameter by each method, with its spread and the noise.

    Filled: beyond noise; open: not told from a random parameter. The grey tick is the noise.

    Args:
        study: its records.
        table: what ``analysis.results.importance.importance`` gave, where it is in hand.
    """
    table = importance(study) if table is None else table
    names, methods = list(table["parameter"].unique()), list(table["method"].unique())
    index = table.set_index(["parameter", "method"])
    looks = dict(zip(methods, _METHOD_LOOKS, strict=False))
    with style.drawing(1.0 + 0.36 * len(names)) as (figure, axes):
        for m, (method, (colour, marker)) in enumerate(looks.items()):
            for place, name in enumerate(names):
                row = index.loc[(name, method)]
                at = place + 0.22 * (m - (len(methods) - 1) / 2)
                tick = [at - 0.1, at + 0.1]
                axes.plot([row["low"], row["high"]], [at, at], color=colour, lw=1.2, zorder=2)
                axes.plot([row["noise"]] * 2, tick, color=style.GREY, lw=1.4, zorder=1)
                face = colour if row["important"] else "white"
                axes.scatter(
                    row["importance"], at, s=18, marker=marker, facecolors=face,
                    edgecolors=colour, linewidths=1.0, zorder=3,
                )  # fmt: skip
        style.row_axis(axes, [shortened(parameter_label(name), _LABEL) for name in names])
        axes.set_xlim(left=0)
        style.percent_axis(axes.xaxis)
        axes.set_xlabel("Share of importance (%)")
        # Filled, whatever the first parameter's marks are.
        marks = [Line2D([], [], marker=m, color=c, ls="", ms=4.5) for c, m in looks.values()]
        told = [METHOD_LABELS[method] for method in methods]
        figure.legend(marks, told, loc="outside upper right", ncols=3, handletextpad=0.2)
    return figure


def numeric_pairs(study: Records, table: pd.DataFrame) -> list[tuple[str, str]]:
    """The two pairs of the most important parameters that have numbers, for contours."""
    names = [
        name
        for name in dict.fromkeys(table["parameter"])
        if not is_category(study.trials[name].dropna())
        and np.ptp(as_codes(study.trials[name])) > 0
    ]
    return list(pairwise(names[:3]))


def times(study: Records) -> Figure:
    """Training time of every trial against the metric: what a better number costs.

    Raises:
        BadInput: if no trial has the metric or a time.
    """
    metric = study.detection_metric
    rows = measured_trials(study, metric)
    if "time_s" not in rows.columns or rows["time_s"].notna().sum() == 0:
        raise BadInput(Fault(str(study.folder.trials), "time_s", "no trial has a time"))
    under = under_floor(study, rows)
    with style.drawing(2.6) as (figure, axes):
        unit, name = (3600.0, "h") if rows["time_s"].max() > 7200 else (60.0, "min")
        for status, face, edge in (
            ("finished", style.BLUE, style.BLUE), ("pruned", "white", style.GREY),
        ):  # fmt: skip
            some = rows[(rows["status"] == status) & ~under]
            if len(some):
                look: style.Look = {"facecolors": face, "edgecolors": edge}
                axes.scatter(
                    some["time_s"] / unit, some[metric], s=20, label=status, zorder=3, **look
                )
        some = rows[under]
        if len(some):
            cross: style.Look = {"marker": "x", "c": style.VERMILION, "s": 20, "lw": 1}
            axes.scatter(
                some["time_s"] / unit, some[metric], label="under the floor", zorder=3, **cross
            )
        axes.set_xlabel(f"Training time ({name})")
        style.metric_axis(axes.yaxis, metric)
        style.legend(figure, axes, ncols=3, handletextpad=0.2, columnspacing=1.0)
    return figure
