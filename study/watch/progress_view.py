"""The picture of a study's progress: rich renderables for a terminal, one line elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from study.counted import counted
from study.scoring.metrics import metric_of, metric_text
from study.scoring.objective import ID_ACCURACY
from study.watch.scoreboard import Best, RunningTrial, Scoreboard

# Lines of the view that are not a running trial.
_OTHER_LINES = 10
_GAP = 2  # columns between cells
_BAR, _SHORT_BAR, _WIDE = 24, 10, 100  # widths: of a stage's bar from a wide terminal on, below it
_STYLES = {"failed": "red", "running": "cyan", "finished": "green"}


@dataclass
class StageState:
    """How far a stage is.

    Attributes:
        title: what is done.
        total: its units, None where unknown.
        begun: seconds of the progress clock.
        done: units done.
        text: what is at work, or how it stands.
    """

    title: str
    total: int | None
    begun: float
    done: int = 0
    text: str = ""


def duration(seconds: float) -> str:
    """``m:ss``, or ``h:mm:ss`` from an hour on."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def roughly(seconds: float) -> str:
    """A time left in words, no finer than it can be known."""
    if seconds < 90:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of a table as lines, each column as wide as its widest cell."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    pairs = (zip(row, widths, strict=True) for row in rows)
    lines = ([cell + " " * (width - cell_len(cell)) for cell, width in row] for row in pairs)
    return ["  ".join(cells).rstrip() for cells in lines]


def number(value: object) -> str:
    """A metric or a parameter for reading: four digits, a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "-" if value is None else str(value)
    if not math.isfinite(value):
        return str(value)
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def stage_line(state: StageState) -> str:
    """A stage as one line."""
    done = f" {state.done}/{state.total}" if state.total else ""
    return f"{state.title}{done}{f': {state.text}' if state.text else ''}"


def summary_line(board: Scoreboard, now: float) -> str:
    """The standing of a search as one line."""
    counts = [f"{count} {status}" for status, count in board.counts.items() if count]
    parts = [f"trials {board.num_ended}/{board.num_trials} ({', '.join(counts)})"]
    parts.append(f"best {_best_text(board.best, board.metric)}")
    if board.images_per_s:
        parts.append(f"{board.images_per_s:,.0f} images/s")
    left = board.time_left_s(now)
    if left is not None and board.num_ended < board.num_trials:
        parts.append(f"{roughly(left)} left")
    return "; ".join(parts)


def _best_text(best: Best | None, metric: str) -> str:
    if best is None:
        return "none yet"
    if not best.above_floor:
        accuracy = metric_text(ID_ACCURACY, best.metrics.get(ID_ACCURACY))
        return f"none above the accuracy floor yet (nearest: trial {best.trial_id}, {accuracy})"
    text = metric_text(metric, best.metrics.get(metric))
    if ID_ACCURACY in best.metrics and metric != ID_ACCURACY:
        text += f" at {metric_text(ID_ACCURACY, best.metrics[ID_ACCURACY])}"
    epoch = f", epoch {best.epoch}" if best.epoch is not None else ""
    return f"{text} (trial {best.trial_id}{epoch})"


def fitted(parts: Sequence[str], room: int, between: str = " ") -> str:
    """As many whole parts as fit, and an ellipsis for those that do not.

    Args:
        parts: words, or parameters with their values.
        room: columns.
        between: what stands between two parts.
    """
    text = between.join(parts)
    if len(text) <= room:
        return text
    for num in range(len(parts) - 1, 0, -1):
        text = f"{between.join(parts[:num])}{between.rstrip()} …"
        if len(text) <= room:
            return text
    return "…" if room > 0 else ""


def render(
    stages: Sequence[StageState],
    board: Scoreboard | None,
    elapsed_s: float,
    now: float,
    size: tuple[int, int],
) -> RenderableType:
    """The live view: stages, then the search with its running trials.

    What does not fit gives way whole, and never a trial's number: parameters first, the last ones
    before the others, then the ID accuracy, then the metric. Of a stage its text gives way, then
    its bar.

    Args:
        stages: the stages at work, outermost first.
        board: the search, None before it begins.
        elapsed_s: seconds since the start.
        now: the progress clock's seconds.
        size: columns and lines of the terminal; trials that do not fit are counted in one line.
    """
    width, height = size
    parts: list[RenderableType] = [_stage(state, now, width) for state in stages]
    if board is not None:
        parts.append(_search(board, elapsed_s, now))
        if board.running:
            rows = max(1, height - _OTHER_LINES - len(stages))
            parts += _trials(board, rows, width)
    elif not stages:
        parts.append(Text(f"{duration(elapsed_s)} elapsed", style="dim"))
    return Group(*parts)


def _stage(state: StageState, now: float, width: int) -> RenderableType:
    """One line, whatever the width."""
    done = f"{state.done}/{state.total}" if state.total else ""
    time = duration(now - state.begun)
    bar = 0 if not state.total else _BAR if width >= _WIDE else _SHORT_BAR
    taken = sum(len(cell) + _GAP for cell in (done, time) if cell)
    if len(state.title) + taken + bar + _GAP > width:
        bar = 0
    title = fitted(state.title.split(" "), width - taken)
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    cells: list[RenderableType] = [Text(title, style="bold", no_wrap=True)]
    if bar:
        cells.append(ProgressBar(state.total, min(state.done, state.total or 0), width=bar))
    cells += [Text(one, no_wrap=True) for one in (done,) if one]
    cells.append(Text(time, style="dim", no_wrap=True))
    room = width - len(title) - taken - (bar + _GAP if bar else 0) - _GAP
    cells.append(Text(fitted(state.text.split(" "), room), no_wrap=True))
    grid.add_row(*cells)
    return grid


def _search(board: Scoreboard, elapsed_s: float, now: float) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    bar = Table.grid(padding=(0, 2))
    done = Text(f"{board.num_ended}/{counted(board.num_trials, 'trial')}")
    bar.add_row(ProgressBar(1.0, board.fraction, width=32), done)
    grid.add_row("Search", bar)
    grid.add_row("Trials", _counts(board.counts))
    grid.add_row("Best", Text(_best_text(board.best, board.metric)))
    if board.last:
        grid.add_row("Last", Text(board.last))
    if board.images_per_s:
        grid.add_row("Speed", Text(f"{board.images_per_s:,.0f} images/s"))
    time = f"{duration(elapsed_s)} elapsed"
    left = board.time_left_s(now)
    if left is not None and board.num_ended < board.num_trials:
        time += f", {roughly(left)} left"
    grid.add_row("Time", Text(time))
    return grid


def _counts(counts: Mapping[str, int]) -> Text:
    """Those that are not 0."""
    told = [
        (f"{count} {status}", _STYLES.get(status, "")) for status, count in counts.items() if count
    ]
    text = Text()
    for place, (one, style) in enumerate(told):
        text.append(", " if place else "").append(one, style=style)
    return text


def _trials(board: Scoreboard, rows: int, width: int) -> Iterator[RenderableType]:
    trials = list(board.running.values())
    metrics = list(dict.fromkeys([board.metric, ID_ACCURACY]))
    heads = ["trial", "epoch", *(metric_of(name).short_label for name in metrics)]
    whole = [heads, *(_trial_cells(trial, metrics) for trial in trials[:rows])]
    table = aligned(whole)
    while len(max(table, key=len)) > width and len(whole[0]) > 2:
        whole = [cells[:-1] for cells in whole]
        table = aligned(whole)
    wide = max(map(len, table)) + _GAP
    yield Text(f"{table[0]:<{wide}}{fitted(['parameters'], width - wide)}".rstrip(), style="dim")
    for line, trial in zip(table[1:], trials, strict=False):
        text = Text(f"{line:<{wide}}", no_wrap=True)
        yield text.append(fitted(_params(trial), width - wide, ", "), style="dim")
    if len(trials) > rows:
        yield Text(f"and {len(trials) - rows} more", style="dim")


def _trial_cells(trial: RunningTrial, metrics: Sequence[str]) -> list[str]:
    epoch = f"{trial.epoch}/{trial.epochs}" if trial.epochs else "starting"
    told = [metric_text(name, trial.metrics.get(name)) for name in metrics]
    labels = [metric_of(name).short_label for name in metrics]
    values = [text.removeprefix(label).strip() for text, label in zip(told, labels, strict=True)]
    return [trial.trial_id, epoch, *values]


def _params(trial: RunningTrial) -> list[str]:
    # "train." goes without saying; the names are long enough.
    return [
        f"{name.removeprefix('train.')} {number(value)}" for name, value in trial.params.items()
    ]
