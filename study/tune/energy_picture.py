"""Energies of ID and OOD validation images as they part, beside the margins of the loss."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_MOST = 5  # rows: the base, the first epoch, the last one and some between
_BINS = 48
_ID, _OOD = "#0072B2", "#E69F00"  # Okabe and Ito's palette, https://jfly.uni-koeln.de/color/

Floats = NDArray[np.float64]


def draw_energies(
    parted: Mapping[str, tuple[Floats, Floats]], margins: Mapping[str, float]
) -> bytes:
    """A row of histograms for each state, all on one axis.

    Args:
        parted: title of a state -> energies of ID and of OOD images, nats, (N,) and (M,).
        margins: ``m_in`` and ``m_out``, nats.

    Returns:
        A PNG.
    """
    # Half a second to import, for studies that draw.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    titles = list(parted)
    if len(titles) > _MOST:
        places = np.linspace(0, len(titles) - 1, _MOST).round().astype(int)
        titles = [titles[place] for place in places]
    values = np.concatenate([one for title in titles for one in parted[title]])
    low, high = np.quantile(values, [0.005, 0.995])
    low, high = min(low, *margins.values()), max(high, *margins.values())
    edges = np.linspace(low, high + 1e-9, _BINS + 1)
    figure = Figure(figsize=(4.4, 0.6 + 0.8 * len(titles)), layout="constrained", dpi=90)
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(titles), 1, sharex=True, squeeze=False)[:, 0]
    for axes, title in zip(rows, titles, strict=True):
        for energies, colour, label in zip(parted[title], (_ID, _OOD), ("ID", "OOD"), strict=True):
            clipped = np.clip(energies, edges[0], edges[-1])
            share = np.histogram(clipped, edges)[0] / len(energies)
            axes.stairs(share, edges, fill=True, alpha=0.4, color=colour, label=label)
        for name, colour in (("m_in", _ID), ("m_out", _OOD)):
            if name in margins:
                axes.axvline(margins[name], color=colour, ls="--", lw=1.3, label=name)
        axes.set_ylabel(title, fontsize=10, rotation=0, ha="right", va="center")
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(labelsize=10)
    rows[-1].set_xlabel("Energy (nats), lower = more ID", fontsize=10)
    handles, labels = rows[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=4, fontsize=10, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
