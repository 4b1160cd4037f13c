"""Results on stdout, whoever reads it: another encoding, a reader that has left, a full disk."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def as_it_is_read() -> Iterator[None]:
    """Write to stdout within: what its encoding lacks comes as ``?``, and nobody is waited for.

    A reader that has left (``| head -1``, a terminal that was closed) ends the writing without a
    word.

    Raises:
        OSError: naming standard output, where a disk takes no more.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:  # of another file
            raise
        # the interpreter flushes once more at its end
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError) and error.errno != errno.EIO:
            error.filename = "standard output"
            raise
