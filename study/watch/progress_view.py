"""The picture of a study's progress: rich renderables for a terminal, one line elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from study.scoring.objective import ID_ACCURACY
from study.watch.scoreboard import Best, RunningTrial, Scoreboard

# Lines of the view that are not a running trial.
_OTHER_LINES = 9
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
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (map(str.ljust, row, widths) for row in rows)
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
        accuracy = number(best.metrics.get(ID_ACCURACY))
        return f"none above the accuracy floor yet (nearest: trial {best.trial_id}, {accuracy})"
    text = f"{metric} {number(best.metrics.get(metric))}"
    if ID_ACCURACY in best.metrics and metric != ID_ACCURACY:
        text += f" at {ID_ACCURACY} {number(best.metrics[ID_ACCURACY])}"
    epoch = f", epoch {best.epoch}" if best.epoch is not None else ""
    return f"{text} (trial {best.trial_id}{epoch})"


def render(
    stages: Sequence[StageState],
    board: Scoreboard | None,
    elapsed_s: float,
    now: float,
    height: int,
) -> RenderableType:
    """The live view: stages, then the search with its running trials.

    Args:
        stages: the stages at work, outermost first.
        board: the search, None before it begins.
        elapsed_s: seconds since the start.
        now: the progress clock's seconds.
        height: lines of the terminal; trials that do not fit are counted in one line.
    """
    parts: list[RenderableType] = [_stage(state, now) for state in stages]
    if board is not None:
        parts.append(_search(board, elapsed_s, now))
        if board.running:
            parts.append(_trials(board, max(1, height - _OTHER_LINES - len(stages))))
    elif not stages:
        parts.append(Text(f"{duration(elapsed_s)} elapsed", style="dim"))
    return Group(*parts)


def _stage(state: StageState, now: float) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    cells: list[RenderableType] = [Text(state.title, style="bold")]
    if state.total:
        cells.append(ProgressBar(state.total, min(state.done, state.total), width=24))
        cells.append(Text(f"{state.done}/{state.total}"))
    cells.append(Text(duration(now - state.begun), style="dim"))
    cells.append(Text(state.text, no_wrap=True, overflow="ellipsis"))
    grid.add_row(*cells)
    return grid


def _search(board: Scoreboard, elapsed_s: float, now: float) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    bar = Table.grid(padding=(0, 2))
    done = Text(f"{board.num_ended}/{board.num_trials} trials")
    bar.add_row(ProgressBar(1.0, board.fraction, width=32), done)
    grid.add_row("Search", bar)
    grid.add_row("Trials", _counts(board.counts))
    grid.add_row("Best", Text(_best_text(board.best, board.metric)))
    if board.images_per_s:
        grid.add_row("Speed", Text(f"{board.images_per_s:,.0f} images/s"))
    time = f"{duration(elapsed_s)} elapsed"
    left = board.time_left_s(now)
    if left is not None and board.num_ended < board.num_trials:
        time += f", {roughly(left)} left"
    grid.add_row("Time", Text(time))
    return grid


def _counts(counts: Mapping[str, int]) -> Text:
    text = Text()
    for status, count in counts.items():
        text.append(f"{count} {status}   ", style=_STYLES.get(status, "") if count else "dim")
    return text


def _trials(board: Scoreboard, rows: int) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for title in ("trial", "epoch", board.metric):
        # A width of their own: in a narrow terminal the parameters give way, not these.
        table.add_column(title, no_wrap=True, min_width=len(title))
    table.add_column("parameters", no_wrap=True, overflow="ellipsis", style="dim")
    trials = list(board.running.values())
    for trial in trials[:rows]:
        table.add_row(*_trial_cells(trial, board.metric))
    if len(trials) <= rows:
        return table
    return Group(table, Text(f"and {len(trials) - rows} more", style="dim"))


def _trial_cells(trial: RunningTrial, metric: str) -> tuple[str, str, str, Text]:
    epoch = f"{trial.epoch}/{trial.epochs}" if trial.epochs else "starting"
    # "train." goes without saying; the names are long enough.
    params = ", ".join(
        f"{name.removeprefix('train.')} {number(value)}" for name, value in trial.params.items()
    )
    return trial.trial_id, epoch, number(trial.metrics.get(metric)), Text(params)
