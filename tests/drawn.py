"""What a figure says."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure


def texts_of(figure: Figure) -> list[str]:
    """Every text in it."""
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


def words_of(figure: Figure) -> str:
    """All of its texts as one."""
    return " ".join(texts_of(figure))
