"""What a user sees while a study runs: one calm live view in a terminal, plain lines elsewhere.

Everything goes to one stream (stderr); results are not this module's. Safe to call from several
threads: the state has a lock, and nothing is written while it is held, because the live view's
own thread takes it while it holds the console.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from study.counted import counted, wrapped
from study.records.failures import FailedTrial, failure_lines, same_cause
from study.scoring.metrics import metric_of
from study.terminal import console, visible
from study.watch.progress_view import StageState, duration, render, stage_line, summary_line
from study.watch.scoreboard import Scoreboard

_TRACEBACK_LINES = 15
# A line for each trial up to this many trials; beyond, the summary alone.
_LINE_PER_TRIAL_UP_TO = 64


class _Pace:
    """When the next plain line is due: often at first, ever less often, at most 10 min apart."""

    def __init__(self, now: float) -> None:
        self._begun = self._last = now

    def due(self, now: float) -> bool:
        wait = min(600.0, max(10.0, 0.1 * (now - self._begun)))
        if now - self._last < wait:
            return False
        self._last = now
        return True


class Stage:
    """One step of the work before or after the search."""

    def __init__(self, progress: Progress, state: StageState) -> None:
        self._progress = progress
        self._state = state
        self._pace = _Pace(state.begun)

    def advance(self, n: int = 1, text: str = "") -> None:
        """Tell that ``n`` more units are done, and what is at work or how it stands."""
        self._progress._advance(self._state, self._pace, n, text)


class Progress:
    """Tells a study's progress; a context manager.

    Args:
        stream: where to write, stderr.
        live: redraw one view in place (needs a terminal).
        quiet: write warnings and errors only.
        clock: seconds from any start, monotonic.
    """

    def __init__(
        self, stream: TextIO, live: bool, quiet: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._quiet = quiet
        self._clock = clock
        self._begun = clock()
        self._lock = threading.RLock()
        self._write_lock = threading.Lock()
        self._gone = False
        self._stages: list[StageState] = []
        self._board: Scoreboard | None = None
        self._pace = _Pace(self._begun)
        self._told: set[str] = set()
        self._live: Live | None = None
        if live and not quiet:
            view = console(file=stream, force_terminal=True, highlight=False)
            self._live = Live(
                console=view,
                get_renderable=self._renderable,
                refresh_per_second=4,
                transient=True,
                # Results are written to stdout after the view is gone; stderr goes above it.
                redirect_stdout=False,
            )

    def __enter__(self) -> Progress:
        """Show the view, where there is one."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Take the view away and tell how the search stands."""
        self.close()

    def close(self) -> None:
        """Take the live view away; a last line says how the search stands."""
        if self._live is not None:
            self._live.stop()
        with self._lock:
            board, self._board = self._board, None
        if board is not None:
            self._line(summary_line(board, self._clock()))

    def note(self, text: str) -> None:
        """Tell something once; left out where the user asked for quiet."""
        self._line(text)

    def warning(self, text: str) -> None:
        """Tell something that the user should know, each text once, also where it is quiet."""
        with self._lock:
            known = text in self._told
            self._told.add(text)
        if not known:
            self._line(f"warning: {text}", style="yellow", always=True)

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Stage]:
        """A named step of the work.

        Args:
            title: what is done, as "Train the base model".
            total: how many units it has, None where that is unknown.

        Yields:
            The stage, to be advanced.
        """
        state = StageState(title, total, begun=self._clock())
        with self._lock:
            self._stages.append(state)
        if self._live is None:
            self._line(f"{title} ...")
        try:
            yield Stage(self, state)
        finally:
            with self._lock:
                self._stages.remove(state)
        spent = self._clock() - state.begun
        # A line that says so a moment after the one that said "..." tells nothing.
        if self._live is not None or spent >= 1:
            self._line(f"{title}: took {duration(spent)}")

    def study_started(
        self,
        num_trials: int,
        metric: str,
        *,
        time_budget_s: float | None = None,
        recorded: Sequence[tuple[str, str, Mapping[str, float]]] = (),
    ) -> None:
        """The search begins.

        Args:
            num_trials: trials of the whole study.
            metric: what it selects by, as ``val/fpr95``.
            time_budget_s: seconds that the search may take.
            recorded: (trial id, status, metrics) of the trials that earlier sessions ended.
        """
        now = self._clock()
        board = Scoreboard(num_trials, metric, now, time_budget_s)
        for trial_id, status, metrics in recorded:
            board.recorded(trial_id, status, metrics)
        with self._lock:
            self._board, self._pace = board, _Pace(now)
        before = f", {board.num_ended} of them on record" if board.num_ended else ""
        title = metric_of(metric).short_label
        self._line(f"Search: {counted(num_trials, 'trial')}{before}, selecting by {title}")

    def trial_started(self, trial_id: str, params: Mapping[str, object]) -> None:
        """A trial begins with these parameters, or goes on."""
        with self._lock:
            if self._board is not None:
                self._board.start(trial_id, params)

    def trial_promoted(self, trial_id: str, why: str) -> None:
        """A trial that a rung had stopped goes on."""
        if self._each():
            self._line(f"trial {trial_id} goes on: {why}")

    def trial_lost(self, trial_id: str, how: str) -> None:
        """A trial's worker died, and it goes on; each time, also where it is quiet."""
        self._line(f"trial {trial_id}: {how}", style="yellow", always=True)

    def _each(self) -> bool:
        """Whether every trial has its lines."""
        with self._lock:
            few = self._board is not None and self._board.num_trials <= _LINE_PER_TRIAL_UP_TO
        return few and self._live is None

    def epoch(self, trial_id: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """A trial told the metrics of epoch ``epoch`` (1-based) of ``epochs``."""
        with self._lock:
            if self._board is not None:
                self._board.epoch(trial_id, epoch, epochs, metrics)
        self._summarise()

    def trial_ended(
        self, trial_id: str, status: str, metrics: Mapping[str, float], reason: str = ""
    ) -> None:
        """A trial ended: finished, pruned, stopped, failed or paused.

        Args:
            trial_id: which.
            status: how.
            metrics: what it is compared by.
            reason: why, or how it stands; of several lines the first is told.
        """
        why = next(iter(reason.strip().splitlines()), "")
        with self._lock:
            board = self._board
            if board is None:
                return
            trial = board.running.get(trial_id)
            trained = f" after {counted(trial.epoch, 'epoch')}" if trial else ""
            board.end(trial_id, status, metrics)
            told = f"trial {trial_id} {status}{trained if status == 'finished' else ''}"
            told += f": {why}" if why else ""
            board.last = told
        if status == "failed":
            self._failed(trial_id, reason)
        elif self._each():
            self._line(told)
        self._summarise()

    def failure_table(self, failures: Sequence[FailedTrial]) -> None:
        """Each distinct traceback once with its trials; also where it is quiet."""
        lines = failure_lines(failures, _TRACEBACK_LINES)
        if lines:
            self._line("\n".join(lines), style="red", always=True)

    def _failed(self, trial_id: str, reason: str) -> None:
        cause = same_cause(reason)
        with self._lock:
            known = cause in self._told
            self._told.add(cause)
        # The same cause again is in the counts, and in the table at the end.
        if not known:
            first = (reason.strip().splitlines() or ["no reason given"])[0]
            self._line(f"trial {trial_id} failed: {first}", style="red", always=True)

    def _advance(self, state: StageState, pace: _Pace, n: int, text: str) -> None:
        now = self._clock()
        with self._lock:
            state.done += n
            state.text = text
            due = self._live is None and pace.due(now)
        if due:
            self._line(stage_line(state))

    def _summarise(self) -> None:
        now = self._clock()
        with self._lock:
            board = self._board
            line = None
            if board is not None and self._live is None and self._pace.due(now):
                line = summary_line(board, now)
        if line:
            self._line(line)

    def _renderable(self) -> RenderableType:
        now = self._clock()
        with self._lock:
            columns, lines = (80, 24) if self._live is None else self._live.console.size
            return render(self._stages, self._board, now - self._begun, now, (columns, lines))

    def _line(self, text: str, style: str = "", always: bool = False) -> None:
        """Write one line with the time since the start; never stops the study."""
        if (self._quiet and not always) or self._gone:
            return
        stamped = visible(f"[{duration(self._clock() - self._begun)}] {text}")
        try:
            if self._live is not None:
                view = self._live.console
                # Here and not by the terminal, which would break words; a log has whole lines.
                indent = " " * (stamped.index("]") + 2 + len(text) - len(text.lstrip()))
                lines = [
                    part
                    for line in stamped.splitlines()
                    for part in wrapped(line, view.width, indent)
                ]
                view.print(Text("\n".join(lines), style=style), soft_wrap=True)
            else:
                with self._write_lock:
                    self._stream.write(f"{stamped}\n")
                    self._stream.flush()
        except (OSError, ValueError):
            # The terminal is gone (a closed connection): the study goes on without a reader.
            self._gone = True
