"""Tables of texts for a terminal of any width."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.cells import cell_len
from rich.text import Text

from analysis.numbers import MISSING
from study.counted import wrapped

_GAP = "  "
_INDENT = 4
TOGETHER = "together"
"""Key of a table's ``attrs``: the number of its last columns that give way together."""


def table_text(title: str, frame: pd.DataFrame, width: int | None = None) -> Text:
    """A table, its title in front; nothing is cut, whatever the width.

    Where its columns do not fit beside each other, the last ones stand under each row, as names
    with their values: first those that ``frame.attrs["together"]`` counts, all of them, then one
    after another, never the first.

    Args:
        title: a line of its own.
        frame: texts, the most important columns first.
        width: columns of the terminal; None where lines may be of any length.
    """
    heads = [str(column) for column in frame.columns]
    rows = [[str(value) for value in row] for row in frame.itertuples(index=False)]
    right = [all(map(_looks_numeric, column)) for column in zip(*rows, strict=True)]
    right = right or [False] * len(heads)
    widths = [max(map(cell_len, column)) for column in zip(heads, *rows, strict=True)]
    beside = _beside(widths, int(frame.attrs.get(TOGETHER, 0)), width)
    look = list(zip(widths, right, strict=True))[:beside]
    text = Text("\n".join(wrapped(title, width) if width else [title]), style="")
    text.stylize("bold")
    text.append("\n")
    text.append(f"{_line(heads[:beside], look)}\n", style="dim")
    for row in rows:
        text.append(f"{_line(row[:beside], look)}\n")
        for line in _under(heads[beside:], row[beside:], width):
            text.append(f"{line}\n", style="dim")
    return text


def _beside(widths: Sequence[int], together: int, width: int | None) -> int:
    """How many columns stand beside each other."""

    def fits(count: int) -> bool:
        return width is None or sum(widths[:count]) + len(_GAP) * (count - 1) <= width

    if fits(len(widths)):
        return len(widths)
    most = len(widths) - max(1, together)
    return next((count for count in range(most, 1, -1) if fits(count)), 1)


def _line(cells: Sequence[str], look: Sequence[tuple[int, bool]]) -> str:
    padded = [
        f"{' ' * (wide - cell_len(cell))}{cell}"
        if right
        else f"{cell}{' ' * (wide - cell_len(cell))}"
        for cell, (wide, right) in zip(cells, look, strict=True)
    ]
    return _GAP.join(padded).rstrip()


def _under(names: Sequence[str], values: Sequence[str], width: int | None) -> list[str]:
    told = [(name, value) for name, value in zip(names, values, strict=True)]
    parts = [f"{name} {value}" for name, value in told if value not in ("", MISSING)]
    if not parts:
        return []
    # A name stays with its value.
    whole = ", ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)
    lines = wrapped(whole, (width or 80) - _INDENT, "")
    return [f"{' ' * _INDENT}{line}".replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _looks_numeric(text: str) -> bool:
    return not text or text[0] in "0123456789+−-–."
