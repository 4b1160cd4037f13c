"""study.errors: a fault says place, key, value, rule and way out."""

import errno
import os
import pickle
from pathlib import Path

import pytest

from study.errors import (
    BAD_INPUT,
    FAILED,
    BadInput,
    Fault,
    Interrupted,
    StudyFailed,
    exit_code,
    first_faults,
)


def test_fault_with_everything_reads_as_one_sentence_and_a_way_out() -> None:
    fault = Fault("a.yaml", "train.lr", "must be above 0", "Raise it.", value=-1, line=7)
    assert str(fault) == "a.yaml:7: train.lr: -1: must be above 0. Raise it."


def test_fault_without_key_value_or_line_leaves_them_out() -> None:
    assert str(Fault("a.yaml", "", "is empty.")) == "a.yaml: is empty."


@pytest.mark.parametrize("value", [None, 0, "", False])
def test_fault_with_a_falsy_value_still_tells_it(value: object) -> None:
    assert f": {value!r}: " in str(Fault("a.yaml", "x", "is wrong", value=value))


def test_fault_with_a_long_value_is_shortened() -> None:
    text = str(Fault("a.yaml", "x", "is wrong", value="y" * 500))
    assert len(text) < 120
    assert "..." in text


def test_bad_input_of_several_faults_tells_each_on_its_line() -> None:
    faults = [Fault("a.yaml", "x", "is wrong"), Fault("a.yaml", "y", "is missing")]
    assert str(BadInput(faults)).splitlines() == [str(fault) for fault in faults]


def test_bad_input_pickled_keeps_its_faults() -> None:
    error = BadInput([Fault("a.yaml", "x", "is wrong", value=3), Fault("b", "", "is empty")])
    again = pickle.loads(pickle.dumps(error))
    assert [str(fault) for fault in again.faults] == [str(fault) for fault in error.faults]


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (BadInput(Fault("a.yaml", "x", "is wrong {")), 2, "error: a.yaml: x: is wrong {.\n"),
        (StudyFailed("nothing"), 1, "No result: nothing.\n"),
        (Interrupted("two are paused"), 130, "two are paused\n"),
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
    ],
)
def test_exit_code_of_an_error_is_told_on_stderr(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> None:
        raise error

    assert exit_code(run, bad="error: {}", failed="No result: {}.") == code
    assert capsys.readouterr() == ("", told)


def test_exit_code_of_what_ends_well_is_zero_or_what_it_gives(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_code(lambda: "anything") == 0
    assert exit_code(lambda: 3) == 3
    assert capsys.readouterr() == ("", "")


def test_full_disk_ends_a_command_with_1_and_a_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fill() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "winner.npz")

    assert exit_code(fill, failed="The final test failed: {}.") == FAILED
    told = capsys.readouterr().err
    assert told.startswith("The final test failed: the disk is full (")
    assert told.endswith("'winner.npz').\n")


LINES = [Fault("list.txt", f"line {number}", "is wrong") for number in range(1, 4)]


def test_first_faults_of_more_than_are_told_say_how_many_are_left() -> None:
    told = first_faults(LINES, 2, "{} further lines are wrong too", "Mend them.")
    assert [str(fault) for fault in told] == [
        "list.txt: line 1: is wrong.",
        "list.txt: line 2: is wrong.",
        "list.txt: 1 further lines are wrong too. Mend them.",
    ]


def test_first_faults_of_few_are_all_of_them() -> None:
    assert first_faults(LINES, 3, "{} further lines are wrong too") == LINES


def test_name_that_is_too_long_ends_a_command_with_2_and_a_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def look() -> None:
        Path("a" * 300).stat()

    assert exit_code(look) == BAD_INPUT
    assert capsys.readouterr().err.endswith("aaa: the name is too long\n")
