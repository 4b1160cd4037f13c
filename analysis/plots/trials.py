"""Pictures of a search: the trade, the space, the learning curves. Each returns a Figure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.bases import base_of_trial, bases
from analysis.choice.pareto import Front, front_of, pareto, states_of
from analysis.choice.selection import best_trial, place_of
from analysis.numbers import metric_label, parameter_label
from analysis.plots import style
from analysis.tables import Records, direction_of, under_floor
from study.errors import BadInput, Fault
from study.scoring.objective import ID_ACCURACY, OBJECTIVE

_SHOWN_UNDER_FLOOR = 0.08  # accuracy, a fraction: trials below it are drawn at the edge
_LONG = 12  # characters that a name above one of several axes may have


def drawn_floor(study: Records) -> float | None:
    """The floor on ID accuracy where it bars anything: one at 0 would only stretch the axis."""
    return study.floor.value if study.floor and study.floor.value > 0 else None


def measured_trials(study: Records, metric: str) -> pd.DataFrame:
    """Trials that have a value of ``metric`` (BadInput if none has)."""
    if metric not in study.trials.columns or study.trials[metric].notna().sum() == 0:
        rule = "no trial has a value of this metric, so there is nothing to draw"
        raise BadInput(Fault(str(study.folder.trials), metric, rule))
    return study.trials[study.trials[metric].notna()]


def base_metric(study: Records, metric: str, trial_id: str = "") -> float | None:
    """The own value of the study's base, or of a trial's, of a summary metric.

    None where it was not measured, and without a trial where arms start from several.
    """
    several = len(bases(study)) > 1
    base = base_of_trial(study, trial_id) if trial_id or not several else {}
    if metric == ID_ACCURACY and base.get("val_id_accuracy") is not None:
        return float(base["val_id_accuracy"])
    told = base.get("metrics") or {}
    value = told.get(metric, told.get(metric.removeprefix("val/")))
    return None if value is None else float(value)


def trade(study: Records, front: Front | None = None) -> Figure:
    """The study's metric against ID accuracy: every trial, the front, the floor, the base.

    Where trials are paths from the base, their states are small dots.

    Args:
        study: its records.
        front: the front with its bootstrap band, where it is in hand.
    """
    metric = study.detection_metric
    rows = measured_trials(study, metric)
    front = front or front_of(study)
    least = _least_accuracy(study, rows)
    far, rows = rows[rows[ID_ACCURACY] < least], rows[rows[ID_ACCURACY] >= least]
    with style.drawing(3.0) as (figure, axes):
        if len(far):  # at the edge: one collapsed trial must not squeeze all others together
            look: style.Look = {"marker": "<", "s": 22, "color": style.GREY, "zorder": 3}
            axes.scatter([least] * len(far), far[metric], label="further left", **look)
        style.statuses(axes, rows, ID_ACCURACY, metric)
        if study.has_path:
            states = states_of(study, (metric, ID_ACCURACY))
            states = states[states[ID_ACCURACY] >= least]
            dots: style.Look = {"s": 5, "color": style.SKY, "lw": 0, "zorder": 2}
            axes.scatter(states[ID_ACCURACY], states[metric], label="on their paths", **dots)
        if len(front.accuracy):
            shown = front.accuracy >= _least_accuracy(study, rows)
            ends = front.band_low[shown], front.band_high[shown]
            band: style.Look = {"color": style.SKY, "alpha": 0.25, "lw": 0, "zorder": 1}
            axes.fill_between(front.accuracy[shown], *ends, label="95 % band", **band)
        best = pareto(study)
        best = best[best[ID_ACCURACY] >= _least_accuracy(study, best)]
        if len(best) > 1:
            line: style.Look = {"color": style.BLUE, "lw": 1, "alpha": 0.6, "zorder": 2}
            axes.plot(best[ID_ACCURACY], best[metric], **line)
        chosen = study.trials[study.trials["trial_id"] == best_trial(study)]
        if len(chosen):
            style.ring(axes, chosen[ID_ACCURACY], chosen[metric], label="chosen")
        at, value = base_metric(study, ID_ACCURACY), base_metric(study, metric)
        if at is not None and value is not None:
            axes.scatter(at, value, marker="D", s=34, color=style.ORANGE, zorder=4, label="base")
        draw_floor(study, axes.axvline)
        style.metric_axis(axes.xaxis, ID_ACCURACY)
        style.metric_axis(axes.yaxis, metric, short=False)
        axes.margins(0.08)
        style.legend(figure, axes, ncols=3, columnspacing=1.2, handletextpad=0.4)
    return figure


def _least_accuracy(study: Records, rows: pd.DataFrame) -> float:
    """Where the axis of ID accuracy begins: some points under what the study wants."""
    if not len(rows):
        return 0.0
    wanted = drawn_floor(study) or float(rows[ID_ACCURACY].max())
    return wanted - _SHOWN_UNDER_FLOOR


def draw_floor(study: Records, draw: Callable[..., object]) -> None:
    """The floor on ID accuracy by ``draw``, such as ``axes.axvline``; nothing without one."""
    if floor := drawn_floor(study):
        draw(floor, color=style.VERMILION, lw=1, ls=style.DASHED, label="floor")


def slices(study: Records) -> dict[str, Figure]:
    """The objective over each searched parameter: column -> figure."""
    return {column: slice_of(study, column) for column in study.searched}


def slice_of(study: Records, column: str, metric: str = OBJECTIVE) -> Figure:
    """One parameter against the metric, every trial a point.

    Args:
        study: its records.
        column: a column ``param/...`` of the trials.
        metric: what to show.

    Raises:
        BadInput: if the parameter is unknown or no trial has the metric.
    """
    rows = measured_trials(study, metric)
    if column not in rows.columns:
        raise BadInput(Fault(str(study.folder.trials), column, "no such parameter"))
    with style.drawing(2.3) as (figure, axes):
        places, ticks = _places(rows[column])
        if ticks is not None:
            axes.set_xticks(range(len(ticks)), ticks)
            axes.set_xlim(-0.5, len(ticks) - 0.5)
            places = places + _spread(rows[metric], places)
        elif study.is_log(column):
            style.log_axis(axes, x=True)
        under = under_floor(study, rows)
        heights, beyond = _capped(rows, metric, under)
        colours = np.where(rows["status"] == "finished", style.BLUE, style.PALE)
        draw: style.Look = {"s": 20, "linewidths": 0.4, "edgecolors": style.GREY}
        axes.scatter(places[~under], heights[~under], c=colours[~under], **draw)
        for those, mark in ((under & ~beyond, "x"), (beyond, "^")):
            cross: style.Look = {"marker": mark, "s": 18, "lw": 1, "c": style.VERMILION}
            axes.scatter(places[those], heights[those], **cross)
        if under.any():
            told = "× under the floor"
            if beyond.any():
                told += f", ▲ beyond: {_range(rows[metric][beyond])}"
            axes.annotate(
                told, (1.0, heights[under].max()), xytext=(0, 7),
                xycoords=("axes fraction", "data"), textcoords="offset points", ha="right",
                fontsize=style.SMALL, color=style.VERMILION,
            )  # fmt: skip
        chosen = (rows["trial_id"] == best_trial(study)).to_numpy()
        style.ring(axes, places[chosen], heights[chosen], size=85, zorder=1)
        axes.set_xlabel(parameter_label(column))
        style.metric_axis(axes.yaxis, metric, short=False)
    return figure


def _places(values: pd.Series) -> tuple[NDArray[np.float64], list[str] | None]:
    """Where values lie on an axis; with tick labels where they are categories."""
    numeric = pd.to_numeric(values, errors="coerce")
    as_text = values.map(str)
    is_bool = values.map(lambda v: isinstance(v, bool | np.bool_)).all()
    few = numeric.nunique() <= 4 and (numeric == numeric.round()).all()
    if numeric.notna().all() and not is_bool and not few:
        return numeric.to_numpy(dtype=np.float64), None
    levels = sorted(set(as_text))
    if not is_bool and numeric.notna().all():
        levels.sort(key=float)
    index = {level: float(i) for i, level in enumerate(levels)}
    return np.array([index[text] for text in as_text]), levels


def _spread(heights: pd.Series, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Small sideways shifts by rank, so that equal levels do not hide each other."""
    order = heights.groupby(places).rank(method="first").to_numpy()
    return np.asarray(0.09 * ((order % 5) - 2))


def _capped(
    rows: pd.DataFrame, metric: str, under: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Heights to draw, and which of them stand at the top of the axis, and are told as a range.

    Under the floor an objective is as large as the shortfall makes it; drawn as it is, it would
    squeeze all others.

    Args:
        rows: trials.
        metric: a column of them.
        under: which lie under the floor on ID accuracy.
    """
    heights = rows[metric].to_numpy(dtype=np.float64).copy()
    if metric != OBJECTIVE or under.all() or not under.any():
        return heights, np.zeros(len(heights), dtype=bool)
    low, high = heights[~under].min(), heights[~under].max()
    cap = high + 0.12 * ((high - low) or 0.1)
    beyond = under & (heights > cap)
    heights[beyond] = cap
    return heights, beyond


def _range(values: pd.Series) -> str:
    """The least and the largest of some values."""
    low, high = f"{values.min():.3g}", f"{values.max():.3g}"
    return low if low == high else f"{low} to {high}"


def parallel(study: Records, metric: str = OBJECTIVE) -> Figure:
    """All finished and pruned trials as lines over the searched parameters.

    Good trials are dark and lie on top; the chosen one is drawn heavy.
    """
    rows = measured_trials(study, metric)
    columns = [c for c in study.searched if rows[c].notna().all()]
    if not columns:
        raise BadInput(Fault(str(study.folder.spec), "search", "no parameter was searched"))
    under = under_floor(study, rows)
    # From nearly 0 (worst) to 1 (best).
    goodness = rows[metric].rank(ascending=direction_of(metric) == "max", pct=True).to_numpy()
    best = best_trial(study)
    with style.drawing(3.0, style.PAGE_IN) as (figure, axes):
        drawn = [_axis(axes, i, rows[c], log=study.is_log(c)) for i, c in enumerate(columns)]
        values, beyond = _capped(rows, metric, under)
        place = len(columns)
        last = np.ones(len(rows))  # at the top what lies beyond the others' range, told in words
        last[~beyond] = _axis(axes, place, pd.Series(values[~beyond]), top=_top(beyond))
        if beyond.any():
            _tick(axes, place, 1.0, _range(rows[metric][beyond]))
        heights = np.column_stack([*drawn, last])
        xs = np.arange(len(columns) + 1)
        for i in np.argsort(goodness):
            look: style.Look = {"color": _shade(goodness[i]), "lw": 1.0, "zorder": 2}
            if rows["trial_id"].iloc[i] == best:
                look = {"color": style.VERMILION, "lw": 2.2, "zorder": 3}
            axes.plot(xs, heights[i], ls=style.DASHED if under[i] else "-", **look)
        names = [parameter_label(column) for column in columns]
        # A long name is broken after underscores: neighbours must not touch.
        names = [one if len(one) <= _LONG else one.replace("_", "_\n") for one in names]
        axes.set_xticks(xs, [*names, metric_label(metric, "")])
        axes.xaxis.set_ticks_position("top")
        axes.grid(visible=False)
        axes.set_yticks([])
        axes.set(ylim=(-0.06, 1.06), xlim=(-0.4, len(columns) + 0.15))
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure


def _shade(goodness: float) -> tuple[float, ...]:
    """From pale grey (worst) to blue (best)."""
    pale, blue = (0.88, 0.88, 0.88), (0.0, 0.447, 0.698)
    share = goodness**1.5
    return tuple(p + (b - p) * share for p, b in zip(pale, blue, strict=True))


def _top(beyond: NDArray[np.bool_]) -> float:
    """Where an axis of numbers ends that has room above it for those beyond."""
    return 0.86 if beyond.any() else 1.0


def _tick(axes: Axes, x: int, height: float, name: str) -> None:
    axes.annotate(
        name, (x, height), xytext=(-3, 0), textcoords="offset points", ha="right", va="center",
        fontsize=style.SMALL, color=style.DARK, zorder=5,
        bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
    )  # fmt: skip


def _axis(
    axes: Axes, x: int, values: pd.Series, *, log: bool = False, top: float = 1.0
) -> NDArray[np.float64]:
    """Draw one vertical axis and return the heights of the values in [0, top]."""
    places, levels = _places(values)
    log = log and levels is None
    if log:
        places = np.log10(places)
    low, high = float(places.min()), float(places.max())
    width = (high - low) or 1.0
    heights = (places - low) / width if high > low else np.full(len(places), 0.5)
    heights = heights * top
    if levels is not None:
        ticks, names = (np.arange(len(levels)) - low) / width, levels
    else:
        inside = np.linspace(low, high, 4) if high > low else np.array([low])
        ticks = (inside - low) / width if high > low else np.array([0.5])
        digits = 2 if log or width > 0.2 * max(abs(low), abs(high)) else 4
        names = [f"{10**v if log else v:.{digits}g}" for v in inside]
    axes.axvline(x, color=style.GREY, lw=0.8, zorder=1)
    for tick, name in zip(ticks, names, strict=True):
        _tick(axes, x, tick * top, name)
    return heights


def learning(study: Records, trial_id: str | None = None) -> Figure:
    """The study's metric (above) and ID accuracy (below) of a trial over its epochs.

    Args:
        study: its records.
        trial_id: whose; the chosen trial's where None.

    Raises:
        BadInput: if the trial left no epochs.
    """
    trial_id = trial_id or place_of(study, None)[0]
    rows = study.epochs[study.epochs["trial_id"] == trial_id]
    if rows.empty:
        rule = f"no epoch of trial {trial_id} is on record"
        raise BadInput(Fault(str(study.folder.epochs), "trial_id", rule))
    chosen = study.trials.loc[study.trials["trial_id"] == trial_id, "checkpoint_epoch"].dropna()
    metrics = {study.detection_metric: style.BLUE, ID_ACCURACY: style.BLACK}
    with style.stacked(3.2, 2) as (figure, pair):
        for axes, (metric, colour) in zip(pair, metrics.items(), strict=True):
            axes.plot(rows["epoch"], rows[metric], marker="o", ms=3.5, color=colour)
            value = base_metric(study, metric, trial_id)
            if value is not None:
                axes.axhline(value, color=style.ORANGE, lw=1, label="base")
            if metric == ID_ACCURACY:
                draw_floor(study, axes.axhline)
            for epoch in chosen:
                axes.axvline(epoch, color=style.GREY, lw=1, ls=":", label="chosen epoch")
            style.metric_axis(axes.yaxis, metric)
        pair[1].set_xlabel("Epoch")
        pair[1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        style.legend(figure, pair[1], ncols=3)
    return figure
