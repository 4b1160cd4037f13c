"""Failed trials by cause: each distinct traceback once, with the trials that it struck."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from study.counted import counted
from study.errors import TrialFailed
from study.records.disk import is_disk_full

# What differs between two trials that failed of the same cause: addresses, processes, values.
_CHANGING = re.compile(r"0x[0-9a-fA-F]+|[0-9a-f]{16,}|\d+(?:\.\d+)*(?:[eE][+-]?\d+)?")
_FRAME = re.compile(r'^\s*File ".*", line \d+')

DIVERGED, MEMORY, BUG, LOST = "diverged", "memory", "bug", "lost"
DISK, FILE = "disk", "file"  # these two pause the study: the trial is not to blame
# What allocators say that raise no exception type of their own: torch's for the CPU, CUDA's
# runtime, cuBLAS and cuDNN, which on a full GPU cannot make a handle or find an algorithm.
_NO_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|CUDA error: out of memory|STATUS_ALLOC_FAILED"
    r"|CU(?:BLAS|DNN)_STATUS_NOT_INITIALIZED|unable to find an engine to execute"
    r"|Cannot allocate memory|node running low on memory"
)


def cause_of(error: BaseException) -> str:
    """The class of a failure: `DIVERGED`, `MEMORY`, `DISK` or `BUG`."""
    if isinstance(error, TrialFailed):
        return DIVERGED
    if is_disk_full(error):
        return DISK
    # By name: torch's and Ray's exceptions are not imported here, and analysis has neither.
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    if named or isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return MEMORY
    return BUG


@dataclass(frozen=True)
class FailedTrial:
    """How one trial ended.

    Attributes:
        trial_id: its name.
        reason: one sentence.
        traceback: of the failing code; empty where the reason says all (a non-finite loss).
    """

    trial_id: str
    reason: str
    traceback: str = ""


@dataclass
class Cause:
    """One distinct cause, told in the words of the first trial that it struck."""

    reason: str
    traceback: str
    trials: list[str] = field(default_factory=list)

    def lines(self, traceback_lines: int | None = None) -> list[str]:
        """The trials, the reason, and (the last lines of) the traceback, indented.

        Args:
            traceback_lines: how many of the traceback's last lines; None takes all.
        """
        count = len(self.trials)
        names = f"{', '.join(self.trials[:8])}{' ...' if count > 8 else ''}"
        reason = self.reason.strip().splitlines() or ["no reason is on record"]
        told = [f"{counted(count, 'trial')} ({names}): {reason[0]}"]
        trace = self.traceback.rstrip().splitlines()
        if traceback_lines is not None and len(trace) > traceback_lines:
            trace = ["...", *trace[-traceback_lines:]]
        return [*told, *(f"    {line}" for line in trace)]


def same_cause(text: str) -> str:
    """``text`` without what changes from trial to trial; equal texts have one cause.

    The line numbers of stack frames are kept: two places in the code are two causes.
    """
    lines = text.strip().splitlines()
    return "\n".join(line if _FRAME.match(line) else _CHANGING.sub("#", line) for line in lines)


def group_failures(failures: Iterable[FailedTrial]) -> list[Cause]:
    """The distinct causes, in the order of their first trial."""
    causes: dict[str, Cause] = {}
    for failure in failures:
        key = same_cause(failure.traceback or failure.reason)
        cause = causes.setdefault(key, Cause(failure.reason, failure.traceback))
        cause.trials.append(failure.trial_id)
    return list(causes.values())


def failure_lines(
    failures: Sequence[FailedTrial], traceback_lines: int | None = None
) -> list[str]:
    """The table of failures, for a terminal or a file; no lines where nothing failed."""
    causes = group_failures(failures)
    if not causes:
        return []
    of_causes = f", of {len(causes)} causes" if len(causes) > 1 else ""
    head = f"{counted(len(failures), 'trial')} failed{of_causes}:"
    return [head, *(line for cause in causes for line in cause.lines(traceback_lines))]
