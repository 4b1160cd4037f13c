"""Text as a terminal may be given it, and commands as a shell takes them back.

Names of files, classes and columns come from elsewhere: what a terminal would obey in them (it
moves the cursor, clears lines, writes backwards) is shown as its escape instead.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from rich.console import Console

# C0 but tab and newline, DEL, C1, what breaks lines or turns the direction of writing, and halves
# of characters (bytes of a name that are no UTF-8).
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""``text`` with what a terminal would obey as escapes, such as ``\x1b``; lines stay lines."""
    return _OBEYED.sub(lambda found: _escape(found[0]), text)


def pasted(arguments: Sequence[str]) -> str:
    """A command that a shell reads back as these arguments, and that is safe to show."""
    return " ".join(map(_quoted, arguments))


def typed_path(text: str | Path) -> Path:
    """A path with ``~`` for a home; one of a user that is not there is taken as it stands."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - pathlib's raises where there is none


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are `visible`: they repeat what was typed."""

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong with the command line, and exit 2."""
        super().error(visible(message))


def console(**settings: Any) -> Console:
    """Rich's console that takes text as it is: no markup, no names of pictures; all `visible`."""
    from rich.console import Console
    from rich.segment import Segment

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # Rich would end the process with 1

        def render(self, *what: Any, **how: Any) -> Iterable[Segment]:
            for one in super().render(*what, **how):
                yield one if one.control else Segment(visible(one.text), one.style)

    return Plain(markup=False, emoji=False, **settings)


def _quoted(argument: str) -> str:
    if not _OBEYED.search(argument) and "\n" not in argument:
        return shlex.quote(argument)
    plain = argument.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"$'{visible(plain)}'"  # as bash, zsh and ksh read escapes


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as Python keeps it
        return f"\\x{code - 0xDC00:02x}"
    # as a shell reads it too: \x is a byte there, so from 0x80 on it has to be \u
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
