"""What can go wrong, by who has to act: the user's input, the study, or nobody (an interrupt)."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from study.terminal import visible

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes of every command."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says of a full disk, a spent quota, and a file larger than a session's may be."""


class _Nothing(Enum):
    """An enum's member stays itself in another process."""

    VALUE = "no value"


NO_VALUE = _Nothing.VALUE
"""Of a fault that has no value to tell."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with the input, told so that it can be mended.

    Attributes:
        place: the file or the option that holds the value.
        key: dotted key inside the file; empty where the file itself is at fault.
        rule: what must hold.
        way_out: what to do about it.
        value: the offending value; left out of the message where there is none.
        line: 1-based line in the file, where known.
    """

    place: str
    key: str
    rule: str
    way_out: str = ""
    value: Any = NO_VALUE
    line: int | None = None

    def __str__(self) -> str:
        """``place:line: key: value: rule. Way out.``."""
        parts = [self.place if self.line is None else f"{self.place}:{self.line}"]
        if self.key:
            parts.append(self.key)
        if self.value is not NO_VALUE:
            parts.append(_short(self.value))
        sentence = f"{': '.join(parts)}: {self.rule.rstrip('.')}."
        return f"{sentence} {self.way_out}".rstrip()


def _short(value: Any, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


class _Told(Exception):
    """What a notebook shows as its sentence, without the lines of code that found it."""

    def _render_traceback_(self) -> list[str]:  # the name that IPython asks for
        return [str(self)]


class BadInput(_Told):
    """The input cannot be used; carries every fault that was found. Exit code 2."""

    def __init__(self, faults: Sequence[Fault] | Fault) -> None:
        self.faults = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[type[BadInput], tuple[tuple[Fault, ...]]]:
        """Survive the trip between processes with the faults, not only their text."""
        return BadInput, (self.faults,)


class StudyFailed(_Told):
    """The study ran and has no result to give. Exit code 1."""


class TrialFailed(Exception):
    """One trial cannot go on (a non-finite loss, say); the study goes on without it."""


class Interrupted(Exception):
    """The user stopped the study; it can be resumed. Exit code 130."""


@contextmanager
def gathered(faults: list[Fault]) -> Iterator[None]:
    """Within, bad input ends the block and its faults join ``faults``; who has them all stops."""
    try:
        yield
    except BadInput as error:
        faults += error.faults


def first_faults(
    faults: Sequence[Fault], most: int, others: str, way_out: str = ""
) -> list[Fault]:
    """The first faults of one place, and one that says how many more there are.

    Args:
        faults: all of them, at least one.
        most: so many are told.
        others: what is said of the rest, with ``{}`` for their number.
        way_out: likewise.
    """
    rest = len(faults) - most
    more = [Fault(faults[0].place, "", others.format(rest), way_out)] if rest > 0 else []
    return [*faults[:most], *more]


def exit_code(run: Callable[[], object], *, bad: str = "{}", failed: str = "{}") -> int:
    """Run a command, and say on stderr why it did not end well.

    Args:
        run: the command; a number that it gives is the code.
        bad: the sentence about bad input, with braces for what is wrong.
        failed: the same about a study without a result.
    """
    try:
        ended = run()
    except BadInput as error:
        code, text = BAD_INPUT, bad.format(error)
    except StudyFailed as error:
        code, text = FAILED, failed.format(error)
    except (Interrupted, KeyboardInterrupt) as error:
        code, text = INTERRUPTED, str(error) or "Interrupted."
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            code, text = BAD_INPUT, bad.format(f"{error.filename}: the name is too long")
        elif error.errno in NO_ROOM:
            code, text = FAILED, failed.format(f"the disk is full ({error})")
        else:
            raise
    else:
        return ended if isinstance(ended, int) else DONE
    sys.stderr.write(f"{visible(text)}\n")
    return code
