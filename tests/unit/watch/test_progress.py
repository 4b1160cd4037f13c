"""study.watch.progress: plain lines, few of them; a live view in a terminal; never an obstacle."""

from __future__ import annotations

import errno
import io
import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from study.records.failures import FailedTrial
from study.watch.progress import Progress
from study.watch.progress_view import (
    StageState,
    aligned,
    duration,
    fitted,
    number,
    render,
    roughly,
)
from study.watch.scoreboard import Scoreboard


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def plain(quiet: bool = False) -> tuple[Progress, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    return Progress(stream, live=False, quiet=quiet, clock=clock), stream, clock


def metrics(value: float, accuracy: float = 0.9) -> dict[str, float]:
    return {"val/fpr95": value, "val/objective": value, "val/id_accuracy": accuracy}


def test_plain_lines_carry_the_elapsed_time() -> None:
    progress, stream, clock = plain()
    progress.note("data: demo")
    clock.now += 3725
    progress.note("[bold]not markup[/bold]")
    assert stream.getvalue() == "[0:00] data: demo\n[1:02:05] [bold]not markup[/bold]\n"


def test_plain_study_tells_each_trial_and_the_standing_at_the_end() -> None:
    progress, stream, clock = plain()
    with progress:
        progress.study_started(3, "val/fpr95")
        progress.trial_started("00000", {"train.lr": 0.1})
        progress.epoch("00000", 1, 2, metrics(0.5))
        progress.epoch("00000", 2, 2, metrics(0.4))
        progress.trial_ended("00000", "finished", metrics(0.4), "FPR95 40.0 %")
        clock.now += 65
        progress.trial_started("00001", {})
        progress.epoch("00001", 1, 2, metrics(0.8))
        progress.trial_ended("00001", "pruned", metrics(0.8), "place 2 of 2 at epoch 1")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[0:00] Search: 3 trials, selecting by FPR95"
    assert lines[1] == "[0:00] trial 00000 finished after 2 epochs: FPR95 40.0 %"
    assert "[1:05] trial 00001 pruned: place 2 of 2 at epoch 1" in lines
    assert lines[-1].startswith("[1:05] trials 2/3 (1 finished, 1 pruned, 1 waiting); best ")
    assert "best FPR95 40.0 % at ID accuracy 90.0 % (trial 00000, epoch 2)" in lines[-1]


def test_plain_summaries_of_a_long_study_grow_rare() -> None:
    progress, stream, clock = plain()
    progress.study_started(1000, "val/fpr95")
    for trial in range(1000):
        for epoch in range(1, 11):
            clock.now += 1
            progress.epoch(str(trial), epoch, 10, metrics(0.5))
        progress.trial_ended(str(trial), "finished", metrics(0.5))
    lines = stream.getvalue().splitlines()
    assert 20 < len(lines) < 100
    assert "left" in lines[-1]


def test_plain_stage_is_told_at_its_start_now_and_then_and_at_its_end() -> None:
    progress, stream, clock = plain()
    with progress.stage("Train the base", total=60) as stage:
        for epoch in range(60):
            clock.now += 1
            stage.advance(1, f"epoch {epoch + 1}")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[0:00] Train the base ..."
    assert lines[1] == "[0:10] Train the base 10/60: epoch 10"
    assert lines[-1] == "[1:00] Train the base: took 1:00"
    assert len(lines) == 8


def test_stage_of_a_moment_is_one_line() -> None:
    progress, stream, _ = plain()
    with progress.stage("Read the data"):
        pass
    assert stream.getvalue().splitlines() == ["[0:00] Read the data ..."]


def test_failure_of_one_cause_is_told_once_and_named_once() -> None:
    progress, stream, _ = plain()
    progress.study_started(4, "val/fpr95")
    for number_ in (1, 2):
        trial_id = f"0000{number_}"
        progress.trial_started(trial_id, {})
        reason = f"epoch {number_}: loss is nan"
        progress.trial_ended(trial_id, "failed", {}, reason)
    told = [line for line in stream.getvalue().splitlines() if "nan" in line]
    assert told == ["[0:00] trial 00001 failed: epoch 1: loss is nan"]


def test_warning_said_twice_is_told_once() -> None:
    progress, stream, _ = plain()
    progress.warning("no GPU")
    progress.warning("no GPU")
    assert stream.getvalue() == "[0:00] warning: no GPU\n"


def test_quiet_tells_warnings_and_failures_only() -> None:
    progress, stream, clock = plain(quiet=True)
    with progress:
        progress.note("data: demo")
        progress.warning("no GPU")
        with progress.stage("Read the data") as stage:
            clock.now += 100
            stage.advance()
        progress.study_started(2, "val/fpr95")
        progress.trial_ended("00000", "finished", metrics(0.4))
        progress.trial_ended("00001", "failed", {}, "ValueError: x")
        progress.failure_table([FailedTrial("00001", "ValueError: x", "Traceback\nValueError: x")])
    lines = stream.getvalue().splitlines()
    assert [line.split("] ")[-1] for line in lines] == [
        "warning: no GPU",
        "trial 00001 failed: ValueError: x",
        "1 trial failed:",
        "1 trial (00001): ValueError: x",
        "    Traceback",
        "    ValueError: x",
    ]


def test_resumed_study_starts_from_what_is_on_record() -> None:
    progress, stream, _ = plain()
    recorded = [("00000", "finished", metrics(0.3)), ("00001", "pruned", metrics(0.2))]
    with progress:
        progress.study_started(4, "val/fpr95", recorded=recorded)
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith("Search: 4 trials, 2 of them on record, selecting by FPR95")
    assert "trials 2/4 (1 finished, 1 pruned, 2 waiting); best FPR95 30.0 %" in lines[1]


def test_calls_before_the_search_do_no_harm() -> None:
    progress, stream, _ = plain()
    progress.trial_started("00000", {})
    progress.epoch("00000", 1, 2, metrics(0.5))
    progress.trial_ended("00000", "finished", {})
    assert stream.getvalue() == ""


class GoneStream(io.StringIO):
    """A terminal whose connection was closed."""

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "gone")


def test_terminal_that_went_away_does_not_stop_the_study() -> None:
    progress = Progress(GoneStream(), live=False, quiet=False)
    progress.note("one")
    progress.warning("two")


@pytest.mark.parametrize("live", [False, True])
def test_many_threads_lose_nothing_and_never_lock_up(live: bool) -> None:
    stream = io.StringIO()
    with Progress(stream, live=live, quiet=False) as progress:
        progress.study_started(400, "val/fpr95")

        def work(first: int) -> None:
            for trial in range(first, 400, 8):
                progress.trial_started(f"{trial:05d}", {"train.lr": 0.1})
                progress.epoch(f"{trial:05d}", 1, 1, metrics(0.5))
                progress.note(f"note {trial};")
                progress.trial_ended(f"{trial:05d}", "finished", metrics(0.5))

        threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert not any(thread.is_alive() for thread in threads)
    text = stream.getvalue()
    assert all(f"note {trial};" in text for trial in range(400))
    assert "trials 400/400 (400 finished)" in text


def picture(
    board: Scoreboard | None,
    *stages: StageState,
    height: int = 24,
    width: int = 100,
    now: float = 75.0,
) -> str:
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(render(stages, board, 75.0, now, (width, height)))
    return console.export_text()


def test_view_of_a_stage_shows_how_far_it_is() -> None:
    stage = StageState("Train the base", 8, begun=0.0, done=3, text="epoch 3: accuracy 0.61")
    text = picture(None, stage, now=42.0)
    assert "Train the base" in text
    assert "3/8" in text
    assert "0:42" in text
    assert "epoch 3: accuracy 0.61" in text


def test_view_of_a_search_shows_status_best_speed_time_and_trials() -> None:
    board = Scoreboard(4, "val/fpr95", now=0.0)
    board.start("00000", {"train.lr": 0.00123456, "train.schedule": "cosine"})
    board.epoch("00000", 1, 4, {**metrics(0.512), "images_per_s": 1240.0})
    board.end("00001", "finished", metrics(0.4, accuracy=0.85))
    text = picture(board, now=75.0)
    assert "1/4 trials" in text
    assert "1 finished" in text
    assert "2 waiting" in text
    assert "FPR95 40.0 % at ID accuracy 85.0 % (trial 00001)" in text
    assert "1,240 images/s" in text
    assert "1:15 elapsed, about 3 min left" in text
    assert "00000  1/4    51.2 %  90.0 %" in text
    assert "lr 0.001235, schedule cosine" in text


def test_view_below_the_floor_does_not_call_it_best() -> None:
    board = Scoreboard(2, "val/fpr95", now=0.0)
    board.epoch("00000", 1, 4, {**metrics(0.1, accuracy=0.7), "val/objective": 1.1})
    text = picture(board, now=5.0)
    assert "none above the accuracy floor yet (nearest: trial 00000, ID accuracy 70.0 %)" in text


def test_view_of_more_trials_than_lines_counts_the_rest() -> None:
    board = Scoreboard(50, "val/fpr95", now=0.0)
    for trial in range(40):
        board.start(f"{trial:05d}", {})
    text = picture(board, now=5.0, height=20)
    assert len(text.splitlines()) < 20
    assert "and 30 more" in text


def busy_board() -> Scoreboard:
    """Four trials of many parameters, one of which has ended."""
    board = Scoreboard(12, "val/fpr95", now=0.0)
    params = {f"train.parameter_{i}": 0.001234 * i for i in range(1, 8)}
    for trial in range(4):
        board.start(f"{trial:05d}", params)
        board.epoch(f"{trial:05d}", 1, 4, metrics(0.5))
    board.end("00003", "pruned", metrics(0.5))
    board.last = "trial 00003 pruned: ID accuracy 86.0 % under the floor of 96.2 %"
    return board


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120])
def test_view_of_any_width_cuts_no_trial_number_and_no_word(width: int) -> None:
    stage = StageState("Base model: resnet20, 8 epochs", 8, 0.0, 3, "validation accuracy 0.951")
    text = picture(busy_board(), stage, width=width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if re.match(r"0000[0-2] +1/4\b", line)]
    assert len(rows) == 3
    words = set(re.findall(r"parameter_\w+|accuracy|waiting|running", text))
    assert words <= {*(f"parameter_{i}" for i in range(1, 8)), "accuracy", "waiting", "running"}
    assert width < 80 or "parameter_1 0.001234, parameter_2" in text


def test_view_gives_up_parameters_then_accuracy_then_the_metric() -> None:
    seen = [
        [word in picture(busy_board(), width=width) for word in ("parameters", "90.0 %", "50.0 %")]
        for width in (80, 40, 34, 22, 13)
    ]
    assert seen[0] == [True, True, True]
    assert seen[-1] == [False, False, False]
    assert all(row == sorted(row) for row in seen)


def test_view_tells_who_ended_last_and_why() -> None:
    text = picture(busy_board(), width=80)
    assert "Last    trial 00003 pruned: ID accuracy 86.0 % under the floor of 96.2 %" in text


def test_view_of_a_search_does_not_count_what_is_not_there() -> None:
    text = picture(busy_board(), width=80)
    assert "1 pruned, 3 running, 8 waiting" in text
    assert "0 finished" not in text


def test_view_of_one_trial_is_in_the_singular() -> None:
    assert "0/1 trial\n" in re.sub(" +\n", "\n", picture(Scoreboard(1, "val/fpr95", now=0.0)))


@pytest.mark.parametrize(
    ("room", "text"), [(11, "one two six"), (10, "one two …"), (8, "one …"), (4, "…"), (0, "")]
)
def test_fitted_keeps_whole_words(room: int, text: str) -> None:
    assert fitted(["one", "two", "six"], room) == text


def test_fitted_keeps_a_parameter_with_its_value() -> None:
    assert fitted(["lr 0.1", "batch_size 128"], 20, ", ") == "lr 0.1, …"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (-1, "0:00"), (61.9, "1:01"), (3600, "1:00:00")]
)
def test_duration_is_clock_like(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "about 5 s"), (61, "about 60 s"), (600, "about 10 min"),
                          (9000, "about 2.5 h")],
)  # fmt: skip
def test_roughly_is_no_finer_than_known(seconds: float, text: str) -> None:
    assert roughly(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.1235"), (128, "128"), (None, "-"), (True, "True"),
                        (float("nan"), "nan"), ("cosine", "cosine"), (1e-5, "1e-05")],
)  # fmt: skip
def test_number_is_short(value: object, text: str) -> None:
    assert number(value) == text


def test_aligned_columns_are_as_wide_as_their_widest_cell() -> None:
    assert aligned([("a", "bc", ""), ("def", "g", "h")]) == ["a    bc", "def  g   h"]


def test_aligned_columns_count_letters_that_are_two_columns_wide() -> None:
    assert aligned([("犬🐕", "x"), ("abc", "y")]) == ["犬🐕  x", "abc   y"]


IN_TERMINAL = """
import sys, time
from study.watch.progress import Progress
with Progress(sys.stderr, live=sys.stderr.isatty(), quiet=False) as progress:
    progress.note("a note above the view")
    progress.study_started(2, "val/fpr95")
    progress.trial_started("00000", {"train.lr": 0.1})
    progress.epoch("00000", 1, 4, {"val/fpr95": 0.25, "val/objective": 0.25})
    print("a stray warning", file=sys.stderr)
    time.sleep(0.6)
print("the result")
"""


def run_in_terminal(code: str, cwd: Path) -> str:
    """Everything that ``code`` shows in a terminal of 100 columns."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=cwd, env=environment, stdout=follower, stderr=follower
    )
    os.close(follower)
    shown, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([leader], [], [], 0.2)[0]:
            try:
                piece = os.read(leader, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
    os.close(leader)
    assert process.wait(timeout=30) == 0
    return shown.decode()


LONG_NOTE = """
import sys
from study.watch.progress import Progress
with Progress(sys.stderr, live=True, quiet=False) as progress:
    progress.warning("the floor is finer than these images tell, so " + "that luck decides " * 6)
    progress.note("  /a/path/that/is/longer/than/one/line/of/the/terminal" * 3)
"""


def test_terminal_breaks_long_lines_between_words_under_the_time(project_root: Path) -> None:
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", run_in_terminal(LONG_NOTE, project_root))
    lines = [line.rstrip("\r") for line in shown.splitlines() if line.strip()]
    assert lines[0].startswith("[0:00] warning: the floor is finer")
    assert lines[1].startswith("       ")
    assert max(len(line) for line in lines if "/a/" not in line) <= 100
    assert shown.count("luck decides") + shown.count("luck\r\n       decides") == 6


def test_terminal_shows_one_view_and_gives_the_cursor_back(project_root: Path) -> None:
    shown = run_in_terminal(IN_TERMINAL, project_root)
    assert "a note above the view" in shown
    assert "a stray warning" in shown
    assert "1/4" in shown
    # The cursor is hidden while the view is there, and shown again before the result.
    assert shown.index("\x1b[?25l") < shown.index("\x1b[?25h") < shown.index("the result")
    after = shown[shown.index("\x1b[?25h") :]
    assert "trials 0/2 (1 running, 1 waiting); best FPR95 25.0 %" in after


@pytest.mark.parametrize(("num_trials", "told"), [(12, True), (1000, False)])
def test_trial_that_goes_on_is_told_where_each_has_a_line(num_trials: int, told: bool) -> None:
    progress, stream, _ = plain()
    progress.study_started(num_trials, "val/fpr95")
    progress.trial_promoted("00003", "place 1 of 3 at epoch 2")
    line = "trial 00003 goes on: place 1 of 3 at epoch 2\n"
    assert stream.getvalue().endswith(line) == told
