from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from study.stdout import as_it_is_read

WRITES = """
from study.stdout import as_it_is_read
with as_it_is_read():
    for _ in range({times}):
        print("\\u2212 1 \\u2026" * 100)
"""


def _run(times: int, **how: object) -> subprocess.Popen[bytes]:
    code = WRITES.format(times=times)
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, **how)  # type: ignore[call-overload, no-any-return]


def test_reader_of_a_table_that_has_left_ends_the_writing_without_a_word() -> None:
    code = "from study.stdout import as_it_is_read; from study.terminal import console\n"
    code += "with as_it_is_read(): console().print('a row')"
    reading, writing = os.pipe()
    os.close(reading)
    call = [sys.executable, "-c", code]
    done = subprocess.run(call, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("times", [1, 10_000])
def test_reader_that_has_left_ends_the_writing_without_a_word(times: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = _run(times, stdout=writing)
    os.close(writing)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (0, b"")


@pytest.mark.parametrize("times", [1, 10_000])
def test_disk_that_is_full_ends_the_writing_with_its_name(times: int) -> None:
    with Path("/dev/full").open("wb") as full:
        process = _run(times, stdout=full)
        _, told = process.communicate(timeout=60)
    assert told.decode().endswith("No space left on device: 'standard output'\n")
    assert process.returncode == 1  # and not the interpreter's 120: nothing is flushed again


def test_what_an_encoding_lacks_is_written_as_question_marks() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    process = _run(1, stdout=subprocess.PIPE, env=environment)
    out, told = process.communicate(timeout=60)
    assert out.startswith(b"? 1 ?")
    assert (process.returncode, told) == (0, b"")


def test_text_goes_through_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with as_it_is_read():
        sys.stdout.write("− 1\n")
    assert capsys.readouterr().out == "− 1\n"
