"""Numbers with their nouns, as people say them."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap


def counted(number: int, noun: str, plural: str = "") -> str:
    """A count: ``1 trial``, ``2 trials``, ``12,000 images``.

    Args:
        number: how many.
        noun: of one.
        plural: of several, where an "s" does not make it.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def some(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are: ``a, b and 3 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def wrapped(text: str, width: int, indent: str = "  ") -> list[str]:
    """A line as lines of at most ``width`` characters, broken between words alone.

    A word that is longer, such as a path, stays whole, so that it can still be copied.

    Args:
        text: one line; spaces inside it, of columns say, stay as they are.
        width: of the terminal.
        indent: before the second line and those after it.
    """
    lines = wrap(
        text.replace(" %", "\N{NO-BREAK SPACE}%"),  # a number stays with its unit
        width,
        subsequent_indent=indent,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}%", " %") for line in lines] or [""]
