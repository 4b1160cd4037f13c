"""Results on stdout, whoever reads it: another encoding, or a reader that has left."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def as_it_is_read() -> Iterator[None]:
    """Write to stdout within: what its encoding lacks comes as ``?``, and nobody is waited for.

    A reader that has left (``| head -1``) ends the writing without a word.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # the interpreter flushes once more at its end
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
