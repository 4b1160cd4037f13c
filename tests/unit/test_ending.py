"""Processes that are told to end, killed, or left alone: their exit codes and their last line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from study.ending import led_away, own_stderr

LISTENS = """
import signal, sys, time
from study import ending
ending.listen(lambda: f"go on: {ending.again()}")
print("ready", flush=True)
time.sleep(60)
"""
WATCHED = """
import os, sys, time
from study import ending
ending.listen(lambda: "by itself")
with ending.watched([sys.argv[1]], "grown", "as before"):
    if len(sys.argv) > 2:
        open(sys.argv[1], "a").write("more")
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "study.cli", "--none"],
        ["-m", "analysis", "trials", "none"],
        ["-m", "ood_study", "x"],
    ],
    ids=["run", "analyse", "ood-study"],
)
def test_command_whose_reader_has_left_says_by_its_exit_code_what_it_cannot_tell(
    project_root: Path, command: list[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    home = {**os.environ, "PYTHONPATH": str(project_root)}
    call = [sys.executable, *command]
    done = subprocess.run(call, stderr=writing, check=False, env=home, timeout=300)
    os.close(writing)
    assert done.returncode == 2


def test_message_that_finds_the_disk_full_is_lost_and_ends_nothing() -> None:
    code = "import sys; from study import ending; ending.listen(); "
    code += "sys.stderr.write('told'); sys.exit(3)"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", code], stderr=full, check=False, timeout=300)
    assert done.returncode == 3


def test_stream_that_was_closed_is_there_for_processes_that_are_started() -> None:
    code = "import subprocess, sys; from study import ending; ending.listen(); "
    code += "sys.exit(subprocess.call([sys.executable, '-c', 'import os; os.fstat(2)']))"
    shell = ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code]
    assert subprocess.run(shell, check=False, timeout=30).returncode == 0


def _start(code: str, *arguments: str, ignored: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    def signals() -> None:
        for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(kind, signal.SIG_IGN if kind in ignored else signal.SIG_DFL)

    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=pipe, stdout=pipe, stderr=pipe, text=True, preexec_fn=signals,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_a_command_that_listens_with_130_and_one_line(number: signal.Signals) -> None:
    process = _start(LISTENS, "my run")
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told.startswith("Interrupted. go on: ")
    assert told.endswith(" 'my run'\n")


SLOWLY = """
import time
from study import ending
ending.listen(lambda: "go on")
with ending.before_end(lambda: time.sleep(0.5)):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_second_signal_while_the_first_is_told_is_not_told_again() -> None:
    process = _start(SLOWLY)
    assert process.stderr is not None
    process.send_signal(signal.SIGTERM)
    first = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, more = process.communicate(timeout=30)
    assert (process.returncode, first, more) == (130, "Interrupted. go on\n", "")


def test_signal_that_was_ignored_from_outside_stays_ignored() -> None:
    process = _start(LISTENS, ignored=(signal.SIGHUP,))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 130


OPENS = """
import os, sys
from study import ending
ending.listen()
with open(sys.argv[1], "w") as ledger:
    print(sys.stdin.read(0), flush=True)
    sys.stderr.write("told")
    ledger.write(str([os.fstat(number) is not None for number in range(3)]))
    sys.exit(ledger.fileno() < 3)
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_from_outside_lead_nowhere(tmp_path: Path, closed: str) -> None:
    shell = ["sh", "-c", f'exec "$0" -c "$1" "$2" {closed}', sys.executable, OPENS]
    done = subprocess.run([*shell, str(tmp_path / "ledger")], check=False, timeout=30)
    assert done.returncode == 0
    assert (tmp_path / "ledger").read_text() == "[True, True, True]"


@pytest.mark.parametrize(("more", "told"), [((), "as before\n"), (("grow",), "grown\n")])
def test_watched_process_that_is_killed_is_survived_by_its_line(
    tmp_path: Path, more: tuple[str, ...], told: str
) -> None:
    process = _start(WATCHED, str(tmp_path / "file"), *more)
    process.kill()
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (-signal.SIGKILL, told)


@pytest.mark.parametrize("ended_by", ["itself", "signal"])
def test_watched_process_that_ends_says_nothing_twice(tmp_path: Path, ended_by: str) -> None:
    process = _start(WATCHED, str(tmp_path / "file"))
    if ended_by == "signal":
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    _, said = process.communicate("\n", timeout=30)
    assert said == ("Interrupted. by itself\n" if ended_by == "signal" else "")


# Started by other commands alone, which end them.
CHILDREN = ("study/final_test.py", "study/export.py")


def test_every_command_listens_before_it_imports_what_takes_time(project_root: Path) -> None:
    commands = []
    for folder in ("study", "analysis", "run_study.py"):
        path = project_root / folder
        for file in [path] if path.is_file() else path.rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            if '__name__ == "__main__"' in text:
                name = file.relative_to(project_root).as_posix()
                before = text.partition("ending.listen(")[0]
                commands.append((name, "from study." not in before and "ending" in before))
    assert ("analysis/__main__.py", True) in commands
    assert {name for name, listens in commands if not listens} == set(CHILDREN)


STARTS = """
import subprocess, sys
from study import ending
ending.listen(lambda: "")
child = subprocess.Popen(["sleep", "60"], start_new_session=True)
with ending.before_end(ending.end_children):
    print("ready", flush=True)
    print(child.pid, flush=True)
    child.wait()
"""


def test_command_that_is_told_to_end_takes_its_processes_with_it() -> None:
    process = _start(STARTS)
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone or child.status() == psutil.STATUS_ZOMBIE


def test_what_libraries_say_is_led_to_a_file_and_a_stream_of_ones_own_is_not(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    with own_stderr() as stream:
        with led_away(str(log)):
            os.write(2, b"of C++\n")
            print("of Python")  # noqa: T201
            stream.write("mine\n")
        sys.stderr.write("after\n")
    assert log.read_text() == "of C++\nof Python\n"
    assert capfd.readouterr() == ("", "mine\nafter\n")


def test_log_that_stays_empty_is_removed(tmp_path: Path) -> None:
    with led_away(str(tmp_path / "log")):
        pass
    assert list(tmp_path.iterdir()) == []


def test_listening_imports_nothing_heavy() -> None:
    code = "import sys, study.ending; print(len(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 150
