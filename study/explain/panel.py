"""The picture: a row an image, with its reconstruction, both maps and the partner.

Maps lie over the image in grey, in a palette (cividis) that colour-blind readers see as others
do and that also survives print in grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import NDArray

from study.records.files import replacing

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]

_PALETTE = "cividis"
_STRONG = 99.0  # percentile of a map that takes the brightest colour: one pixel must not rule
_CELL_IN = 0.78  # width of a picture; five of them and the names fit a wide column
_NAMES_IN = 0.72
_TEXT_IN = 0.30  # height of the two lines under each picture
_FOOT_IN = 0.34
_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 6.5,
    "axes.titlesize": 7,
}


@dataclass(frozen=True, eq=False)
class Row:
    """What a row shows; what the model has no branch for is None.

    Attributes:
        title: set and class, over two lines at most.
        image: uint8 (H, W, 3) or float in [0, 1].
        image_text: under the image, two short lines at most; so the other texts.
        class_map: shape (H, W); its size is shown, without the sign.
        class_text: predicted class and confidence.
        reconstruction: float in [0, 1], shape (H, W, 3).
        reconstruction_text: its error.
        similarity_map: shape (H, W).
        similarity_text: cosine with the partner.
        partner: the ID image that it is compared with.
        partner_text: its class.
    """

    title: str
    image: NDArray[Any]
    image_text: str
    class_map: Floats
    class_text: str
    reconstruction: NDArray[Any] | None = None
    reconstruction_text: str = ""
    similarity_map: Floats | None = None
    similarity_text: str = ""
    partner: NDArray[Any] | None = None
    partner_text: str = ""


def overlay(image: NDArray[Any], values: Floats) -> Floats:
    """A map over its image in grey, RGB in [0, 1], shape (H, W, 3).

    The map's size, from 0 (grey) to its 99th percentile (full colour); a map that is 0 throughout
    leaves the image grey.
    """
    grey = (_unit(image) @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    size = np.abs(values)
    top = float(np.percentile(size, _STRONG)) or float(size.max())
    strength = np.clip(size / top, 0, 1) if top > 0 else np.zeros_like(size)
    colour = mpl.colormaps[_PALETTE](strength)[..., :3]
    weight = 0.35 + 0.5 * strength[..., None] if top > 0 else 0.0
    mixed: Floats = ((1 - weight) * grey + weight * colour).astype(np.float32)
    return mixed


def draw_panel(rows: Sequence[Row], *, method: str) -> Figure:
    """The figure, a line of pictures for each row."""
    columns = _columns(rows)
    width = _NAMES_IN + len(columns) * _CELL_IN
    line = _CELL_IN + _TEXT_IN
    height = len(rows) * line + _TEXT_IN + _FOOT_IN
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        for index, row in enumerate(rows):
            bottom = height - _TEXT_IN / 2 - (index + 1) * line + _TEXT_IN
            middle = (bottom + _CELL_IN / 2) / height
            figure.text(0.04 / width, middle, row.title, va="center", fontweight="bold")
            for place, column in enumerate(columns):
                left = _NAMES_IN + place * _CELL_IN
                size = 0.94 * _CELL_IN
                box = (left / width, bottom / height, size / width, size / height)
                _cell(figure.add_axes(box), row, column, first=index == 0)
        _foot(figure, width, height, method)
    return figure


def _columns(rows: Sequence[Row]) -> list[str]:
    names = ["image"]
    names += ["reconstruction"] if any(r.reconstruction is not None for r in rows) else []
    names.append("class map")
    if any(row.similarity_map is not None for row in rows):
        names += ["similarity map", "partner"]
    return names


def _cell(axes: Axes, row: Row, column: str, *, first: bool) -> None:
    picture, text = {
        "image": (row.image, row.image_text),
        "reconstruction": (row.reconstruction, row.reconstruction_text),
        "class map": (overlay(row.image, row.class_map), row.class_text),
        "similarity map": (_similarity(row), row.similarity_text),
        "partner": (row.partner, row.partner_text),
    }[column]
    axes.set_axis_off()
    if first:
        axes.set_title(column, pad=3)
    if picture is not None:
        axes.imshow(_unit(picture), interpolation="nearest")
        axes.text(
            0.5, -0.04, text, transform=axes.transAxes, ha="center", va="top", linespacing=1.15
        )


def _similarity(row: Row) -> Floats | None:
    return None if row.similarity_map is None else overlay(row.image, row.similarity_map)


def _foot(figure: Figure, width: float, height: float, method: str) -> None:
    """What the colours mean."""
    box = (0.08 / width, 0.2 / height, 0.6 * _NAMES_IN / width, 0.06 / height)
    bar = figure.colorbar(
        ScalarMappable(cmap=_PALETTE), cax=figure.add_axes(box), orientation="horizontal"
    )
    bar.outline.set_visible(False)
    bar.set_ticks([0, 1], labels=["0", "strong"], fontsize=5.5)
    bar.ax.tick_params(length=0, pad=1)
    told = f"{method.replace('_', ' ')}, without the sign;\neach map to its own 99th percentile"
    figure.text(_NAMES_IN / width, 0.28 / height, told, va="top", fontsize=5.5)


def panel_array(figure: Figure, dpi: int = 150) -> Picture:
    """The figure's pixels, uint8, shape (height, width, 3), for TensorBoard."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(pixels[..., :3], dtype=np.uint8)


def save_panel(figure: Figure, path: Path, dpi: int = 300) -> None:
    """Write the figure as a PNG, by rename."""
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=dpi)


def _unit(image: NDArray[Any]) -> Floats:
    """Any image as float32 in [0, 1]."""
    scale = 255 if image.dtype == np.uint8 else 1
    unit: Floats = np.asarray(image, dtype=np.float32) / np.float32(scale)
    return unit
