"""How a command ends before its time: told to by a signal, or left alone by what it runs on.

A file on disk is whole at any moment (`kill -9` is tested at every write), so nothing has to be
wound up: the process says how to go on and is gone. An exception in its place would be caught by
some library or come out as its traceback. Nothing heavy is imported here: a command listens
before all else.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, TextIO

from study.errors import INTERRUPTED
from study.terminal import pasted, visible

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Ctrl-C; a batch system or `kill`; a terminal that was closed."""

_TERMINALS = (1, 2)
_SHOWN_AGAIN = "\x1b[?25h\n"  # the cursor, which a live view hides
# Waits for a word or for the end of the process that holds the other end of its stdin, by
# whatever kills it. $1 is told where the files after $3 are larger by now than $3, else $2.
_WATCHER = """
trap '' INT TERM HUP
read -r said && exit
grown=$1 same=$2 before=$3
shift 3
if [ "$(cat "$@" 2>/dev/null | wc -c)" -gt "$before" ]; then told=$grown; else told=$same; fi
printf '%s\\n' "$told" >&2
"""


def again() -> str:
    """The command as it was typed, to be pasted."""
    return pasted(sys.orig_argv)


_way_back: Callable[[], str] = lambda: f"Nothing is lost; to start again: {again()}"  # noqa: E731
asked = threading.Event()
"""Set where somebody took a signal as a wish, and is winding up."""
_before: list[Callable[[], object]] = []
_last = threading.Lock()
"""Held by who ends the process: nobody says it twice."""
_stderr = 2


def listen(way_back: Callable[[], str] | None = None) -> None:
    """From now on a signal ends this process with exit 130 and one line; see `tell`.

    A signal that this process was started to ignore (`nohup`, a shell's `&`) stays ignored.
    """
    global _stderr
    open_standard()
    _stderr = os.dup(2)  # what leads 2 elsewhere leaves this where it is
    if way_back is not None:
        tell(way_back)
    for kind in SIGNALS:
        if signal.getsignal(kind) is not signal.SIG_IGN:
            signal.signal(kind, _told)


class _Unheard(io.FileIO):
    """A descriptor whose reader may leave, or whose disk may fill up."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _told_to(descriptor: int, *, close: bool) -> TextIO:
    """Standard error by a descriptor: what nobody takes there is lost, and ends nothing."""
    return io.TextIOWrapper(
        io.BufferedWriter(_Unheard(descriptor, "w", closefd=close)),
        encoding=sys.stderr.encoding,
        errors="backslashreplace",
        line_buffering=True,
    )


def open_standard() -> None:
    """Let standard streams be what nothing fails by, whatever they were started as.

    Those that were closed from outside (``2>&-``) lead nowhere: else the next files that are
    opened get their numbers, and what some library writes to standard error would go into the
    ledger. A message that standard error does not take (``2>&1 | head``, a full disk) is lost; it
    changes no exit code.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free: this one
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
    sys.stderr = _told_to(2, close=False)


def hear_again() -> None:
    """Take the signals back from a library that took them behind Python's back."""
    if threading.current_thread() is not threading.main_thread():
        return
    for kind in SIGNALS:
        if callable(handler := signal.getsignal(kind)):
            signal.signal(kind, handler)


def tell(way_back: Callable[[], str]) -> None:
    """What is told from now on of how to go on, asked when it is needed."""
    global _way_back
    _way_back = way_back


@contextmanager
def before_end(action: Callable[[], object]) -> Iterator[None]:
    """Within, `end` does ``action`` first: what this process alone would have done."""
    _before.append(action)
    try:
        yield
    finally:
        _before.remove(action)


def end(code: int, sentence: str) -> NoReturn:
    """Say a sentence and how to go on, and end the process here and now, from any thread."""
    if not _last.acquire(blocking=False):
        threading.Event().wait()  # another thread is at it
    told = visible(f"{sentence} {_way_back()}\n")
    with suppress(OSError):  # the terminal may be gone
        shown = _SHOWN_AGAIN if os.isatty(_stderr) else ""
        os.write(_stderr, (shown + told).encode(errors="backslashreplace"))
    for action in reversed(_before):
        with suppress(OSError):
            action()
    os._exit(code)


def end_children() -> None:
    """End the processes that this one has started, and theirs."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()


def _told(_number: int, _frame: FrameType | None) -> None:
    if not _last.locked():  # a second signal may come while the first one is told
        end(INTERRUPTED, "Interrupted.")


@contextmanager
def watched(files: Sequence[str], grown: str, else_: str) -> Iterator[None]:
    """Within, a process that is killed, or ended by a library, is survived by a line on stderr.

    Args:
        files: that tell which line.
        grown: what is told where they are larger by then.
        else_: what is told where they are not, or not there.
    """
    if sys.platform == "win32":  # has no such shell
        yield
        return
    before = sum(map(size_of, files))
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", _WATCHER, "sh", grown, else_, str(before), *files],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert watcher.stdin is not None
    stdin = watcher.stdin

    def said() -> None:
        os.write(stdin.fileno(), b"said\n")

    try:
        with before_end(said):
            yield
    finally:
        with suppress(OSError):
            said()
            stdin.close()
        watcher.wait()


def size_of(file: str) -> int:
    """Bytes of a file, 0 where there is none."""
    try:
        return os.stat(file).st_size  # noqa: PTH116 - pathlib is not imported for a size
    except OSError:
        return 0


@contextmanager
def own_stderr() -> Iterator[TextIO]:
    """Standard error by a descriptor of its own, for a writer that goes on while `led_away`."""
    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # a test's, or closed
        yield sys.stderr
        return
    with _told_to(descriptor, close=True) as stream:
        yield stream


@contextmanager
def led_away(log: str) -> Iterator[None]:
    """Within, what libraries write to a terminal goes to the end of a file, their C++ parts' too.

    A file that stays empty is removed.
    """
    with open(log, "a", buffering=1, errors="backslashreplace") as file:  # noqa: PTH123
        streams = sys.stdout, sys.stderr
        for stream in streams:
            stream.flush()
        kept = [os.dup(number) for number in _TERMINALS]
        for number in _TERMINALS:
            os.dup2(file.fileno(), number)
        sys.stdout = sys.stderr = file
        try:
            yield
        finally:
            sys.stdout, sys.stderr = streams
            for number, copy in zip(_TERMINALS, kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
    if not size_of(log):
        os.unlink(log)  # noqa: PTH108
