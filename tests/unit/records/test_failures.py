"""study.records.failures: each distinct cause once, with the trials that it struck."""

import pytest

from study.errors import TrialFailed
from study.records.failures import FailedTrial, cause_of, failure_lines, group_failures, same_cause

TRACE = """\
Traceback (most recent call last):
  File "a.py", line 3, in f
    boom(model)
ValueError: {value} at 0x{address}
"""


def trace(value: str = "1.5", address: str = "7f00aa", line: int = 3) -> str:
    return TRACE.format(value=value, address=address).replace("line 3", f"line {line}")


def test_same_cause_leaves_out_values_and_addresses() -> None:
    assert same_cause(trace("1.5", "7f00aa")) == same_cause(trace("2e-08", "7f00bb"))
    assert same_cause("(pid=123, ip=10.0.0.1) loss is nan") == same_cause(
        "(pid=9, ip=127.0.0.1) loss is nan"
    )


def test_same_cause_keeps_the_line_of_a_frame() -> None:
    assert same_cause(trace(line=3)) != same_cause(trace(line=4))


def test_group_failures_joins_trials_of_one_cause_in_order() -> None:
    causes = group_failures(
        [
            FailedTrial("00002", "epoch 2: loss is nan (lr 0.3)"),
            FailedTrial("00001", "ValueError", trace("1.5")),
            FailedTrial("00005", "epoch 4: loss is nan (lr 0.7)"),
            FailedTrial("00007", "ValueError", trace("2.5")),
        ]
    )
    assert [cause.trials for cause in causes] == [["00002", "00005"], ["00001", "00007"]]
    assert causes[0].reason == "epoch 2: loss is nan (lr 0.3)"


def test_failure_lines_of_no_failure_are_none() -> None:
    assert failure_lines([]) == []


def test_failure_lines_tell_a_traceback_once_and_shorten_it_on_request() -> None:
    failures = [FailedTrial(f"{number:05d}", "ValueError: x", trace()) for number in range(10)]
    whole = failure_lines(failures)
    assert whole[0] == "10 trials failed:"
    assert whole[1].startswith("10 trials (00000, 00001,")
    assert "\n".join(whole).count("boom(model)") == 1
    assert failure_lines(failures, 1)[2:] == ["    ...", "    ValueError: 1.5 at 0x7f00aa"]


def test_failure_lines_without_any_reason_say_so() -> None:
    assert failure_lines([FailedTrial("00000", "")])[1].endswith("no reason is on record")


class OutOfMemoryError(RuntimeError):
    """Named as torch's and Ray's are."""


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (TrialFailed("loss is nan"), "diverged"),
        (MemoryError(), "memory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), "memory"),
        (RuntimeError("CUDA error: out of memory"), "memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), "memory"),
        (RuntimeError("GET was unable to find an engine to execute this computation"), "memory"),
        (OSError(28, "No space left on device"), "disk"),
        (RuntimeError("the memory of the team is long"), "bug"),
        (ValueError("x"), "bug"),
    ],
)
def test_cause_of_an_error_is_seen_from_its_type_or_its_words(
    error: Exception, cause: str
) -> None:
    assert cause_of(error) == cause
