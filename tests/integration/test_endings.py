"""A study that is told to end, or that Ray ends under: one line that goes on, and the same end."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from study.terminal import pasted
from study.tune.ray_local import sessions_folder
from tests.integration.runs import NUM_TRIALS, PROJECT, Shell, decisions, new_study, num_events

pytestmark = pytest.mark.ray
TERM, HUP, INT = signal.SIGTERM, signal.SIGHUP, signal.SIGINT
RUN = str(PROJECT / "run_study.py")
SIGNALS = (TERM, HUP, INT)
GO_ON = "To go on: python run_study.py --resume cut\n"
_PATIENCE_S = 300


def _ended(
    process: subprocess.Popen[str], at: Callable[[], bool], how: Callable[[], object]
) -> float:
    """Do ``how`` as soon as ``at()`` holds, and give the seconds until the process has ended."""
    deadline = time.monotonic() + _PATIENCE_S
    while process.poll() is None and not at():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert process.poll() is None, "it ended before it could be disturbed"
    begun = time.monotonic()
    how()
    process.communicate(timeout=_PATIENCE_S)
    return time.monotonic() - begun


def _in_base(shell: Shell) -> bool:
    return any((shell.folder / "cache" / "bases").glob("*/epoch_0001"))


def _stage(text: str) -> Callable[[Shell], bool]:
    return lambda shell: text in shell.told()


def _ray_starts(shell: Shell) -> bool:
    """The moment in which Ray has a folder and no trial was given out."""
    mine = psutil.Process().children(recursive=True)
    return any(any(sessions_folder().glob(f"session_*_{one.pid}")) for one in mine)


def _seen(event: str) -> Callable[[Shell], bool]:
    return lambda shell: num_events(shell.folder / "cut", event) > 0


# Where a study is -> how a test knows, and whether anything is on record by then.
STAGES: dict[str, tuple[Callable[[Shell], bool], bool]] = {
    "data": (_stage("Data: read"), False),
    "leak check": (_stage("Data: leak check"), False),
    "base training": (_in_base, True),
    "Ray starting": (_ray_starts, True),
    "search begun": (_stage("Search: "), True),
    "first trial": (_seen("ask"), True),
    "selection": (_stage("Selection and report"), True),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "number"), list(zip(STAGES, itertools.cycle([TERM, HUP, INT]), strict=False))
)
def test_study_told_to_end_at_any_stage_exits_130_with_the_line_and_ends_the_same(
    fresh_shell: Shell, finished: Path, stage: str, number: signal.Signals
) -> None:
    shell, (at, on_record) = fresh_shell, STAGES[stage]
    process = shell.start(RUN, *new_study("cut"))
    _ended(process, lambda: at(shell), lambda: process.send_signal(number))
    told = shell.told()
    assert process.returncode == 130, told
    assert "Traceback" not in told
    begun = num_events(shell.folder / "cut", "") > 0
    assert begun == on_record
    again = ["--resume", "cut"] if begun else new_study("cut")
    typed = pasted(["python", "run_study.py", *new_study("cut")])
    assert told.endswith(GO_ON if begun else f"give the same command again: {typed}\n"), told
    code, _ = shell.study(*again, *(["--max-concurrent", "1"] if begun else []))
    assert code == 0, shell.told()
    assert decisions(shell.folder / "cut") == decisions(finished)


@pytest.mark.slow
@pytest.mark.parametrize("number", [TERM, INT])
def test_resume_told_to_end_says_how_to_go_on(
    shell: Shell, copied: Path, number: signal.Signals
) -> None:
    process = shell.start(RUN, "--resume", copied.name)
    _ended(
        process, lambda: "Data: leak check" in shell.told(), lambda: process.send_signal(number)
    )
    assert process.returncode == 130
    assert shell.told().endswith(f"To go on: python run_study.py --resume {copied.name}\n")


@pytest.mark.slow
def test_job_whose_every_process_is_told_to_end_exits_130_with_the_line(shell: Shell) -> None:
    process = shell.start(RUN, *new_study("cut"))

    def tell_all() -> None:  # as batch systems and `timeout` do: Ray's own processes end as well
        os.killpg(process.pid, TERM)

    _ended(process, lambda: num_events(shell.folder / "cut", "ask") > 0, tell_all)
    assert process.returncode == 130, shell.told()
    assert shell.told().endswith(GO_ON), shell.told()


def _ray_process(process: subprocess.Popen[str], name: str) -> psutil.Process | None:
    for child in psutil.Process(process.pid).children():
        if name in child.name():
            return child
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_ray_dying_under_a_study_is_told_at_once_with_the_line_and_nothing_is_lost(
    shell: Shell, finished: Path, name: str
) -> None:
    process = shell.start(RUN, *new_study("cut"))

    def kill() -> None:
        victim = _ray_process(process, name)
        assert victim is not None
        victim.kill()

    spent = _ended(process, lambda: num_events(shell.folder / "cut", "result") > 1, kill)
    told = shell.told()
    assert (process.returncode, spent < 10) == (1, True), (spent, told)
    assert told.endswith(f"its {name} died), which is paused. {GO_ON}"), told
    assert "Traceback" not in told
    assert "*** " not in told
    code, _ = shell.study("--resume", "cut", "--max-concurrent", "1")
    assert code == 0, shell.told()
    assert decisions(shell.folder / "cut") == decisions(finished)
    assert len(decisions(finished)) > NUM_TRIALS


@pytest.mark.slow
def test_raylet_that_dies_while_ray_starts_is_told_with_the_line(shell: Shell) -> None:
    process = shell.start(RUN, *new_study("cut"))

    def up() -> bool:
        return num_events(shell.folder / "cut", "started") > 0 and bool(
            _ray_process(process, "raylet")
        )

    def kill() -> None:
        victim = _ray_process(process, "raylet")
        assert victim is not None
        victim.kill()

    _ended(process, up, kill)
    told = shell.told()
    assert process.returncode in (1, 2), told
    assert told.endswith(GO_ON), told
    assert "Traceback" not in told


@pytest.mark.slow
def test_driver_that_is_killed_is_survived_by_the_line(shell: Shell) -> None:
    process = shell.start(RUN, *new_study("cut"))
    at = lambda: num_events(shell.folder / "cut", "ask") > 0  # noqa: E731
    _ended(process, at, lambda: os.kill(process.pid, signal.SIGKILL))
    time.sleep(1)
    assert process.returncode == -signal.SIGKILL
    assert shell.told().endswith(f"The study's process was killed. {GO_ON}")
