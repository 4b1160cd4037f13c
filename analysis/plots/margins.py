"""Margins against energies: whether training put the energies where the margins wanted them."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analysis.choice.selection import base_scores, place_of, scores_at
from analysis.plots import style
from analysis.results.margins import ENERGY, energies_of, margin_table, reached_energies
from analysis.tables import Records
from study.errors import BadInput, Fault
from study.records.files import VAL_ID


def calibration(study: Records) -> Figure:
    """Mean energies that finished trials reached over the margins that they were given.

    On the diagonal the mean lies at its margin; ID images are not punished below it, OOD images
    not above it.

    Raises:
        BadInput: as `reached_energies`.
    """
    table = reached_energies(study)
    with style.drawing(3.0) as (figure, axes):
        inside: style.Look = {"s": 22, "color": style.BLUE, "label": "ID over m_in"}
        outside: style.Look = {"s": 24, "color": style.ORANGE, "label": "OOD over m_out"}
        axes.scatter(table["m_in"], table["id_energy"], zorder=3, **inside)
        axes.scatter(table["m_out"], table["ood_energy"], marker="^", zorder=3, **outside)
        values = table[["m_in", "m_out", "id_energy", "ood_energy"]].to_numpy()
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        room = 0.05 * ((high - low) or 1.0)
        ends = [low - room, high + room]
        axes.plot(ends, ends, color=style.GREY, lw=0.9, ls=":")
        axes.set_xlabel("Margin (nats)")
        axes.set_ylabel("Mean validation energy (nats)")
        style.legend(figure, axes, ncols=2, handletextpad=0.2)
    return figure


def energies(study: Records, trial_id: str | None = None, epoch: int | None = None) -> Figure:
    """Energies of ID and OOD validation images of the base and of a trial, with its margins.

    Args:
        study: its records.
        trial_id: whose; the chosen trial's where None.
        epoch: of it; its checkpoint's where None.

    Raises:
        BadInput: if the trial has no margins or its energies were not kept.
    """
    trial_id, epoch, alpha = place_of(study, trial_id, epoch)
    margins = (
        margin_table(study).set_index("trial_id")[["m_in", "m_out"]].to_dict("index")[trial_id]
    )
    sets = scores_at(study, trial_id, epoch, alpha)
    if ENERGY not in sets[VAL_ID].scores:
        rule = "the trial's scores hold no energies"
        raise BadInput(Fault(str(study.folder.trial_scores(trial_id)), ENERGY, rule))
    base = base_scores(study, trial_id)
    shown = {"Base": energies_of(base)} if base and ENERGY in base[VAL_ID].scores else {}
    shown[f"Trial {trial_id}"] = energies_of(sets)
    every = np.concatenate([one for each in shown.values() for one in each])
    low, high = np.quantile(every, [0.002, 0.998])
    low, high = min(low, margins["m_in"]), max(high, margins["m_out"])
    edges = np.linspace(low, high + 0.12 * (high - low), 45)
    sides = (("m_in", style.BLUE, "ID", -3, "right"), ("m_out", style.ORANGE, "OOD", 3, "left"))
    with style.stacked(1.0 + 1.25 * len(shown), len(shown)) as (figure, rows):
        for axes, (title, each) in zip(rows, shown.items(), strict=True):
            for values, (_, colour, label, _, _) in zip(each, sides, strict=True):
                style.histogram(axes, values, edges, colour, label)
            style.percent_axis(axes.yaxis)
            for margin, colour, *_ in sides:
                axes.axvline(margins[margin], color=colour, lw=1.1, ls=(0, (4, 2)))
            axes.set_title(title, fontsize=8.5, color=style.BLACK)
        for margin, _, _, shift, side in sides:
            rows[-1].annotate(
                margin, (margins[margin], 1.0), xycoords=("data", "axes fraction"),
                xytext=(shift, -2), textcoords="offset points", ha=side, va="top",
                fontsize=style.SMALL,
            )  # fmt: skip
        rows[-1].set_xlabel("Energy (nats, lower = more ID)")
        figure.supylabel("Share of images (%)", fontsize=8.5)
        style.legend(figure, rows[0], ncols=2)
    return figure
