"""Margins against energies: whether training put the energies where the margins wanted them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.choice.selection import base_scores, scores_at
from analysis.plots.style import (
    BLACK,
    BLUE,
    COLUMN_IN,
    GREY,
    ORANGE,
    new_figure,
    percent_axis,
    styled,
)
from analysis.results.margins import margin_table
from analysis.tables import Records
from study.errors import BadInput, Fault
from study.records.files import VAL_ID, SetScores

_ENERGY = "energy"


def reached_energies(study: Records) -> pd.DataFrame:
    """What each finished trial's margins asked for, and the energies that it reached.

    Returns:
        trial_id; m_in and m_out (nats); id_energy and ood_energy, means over the validation ID
        images and over the images of all OOD validation sets at the checkpoint (nats; lower =
        more ID); id_above, the share of ID images above m_in; ood_below, the share of OOD images
        below m_out (both are what the loss still punishes, up to the outliers being others than
        the OOD validation images).

    Raises:
        BadInput: if the trials have no margins, or no finished trial kept its energies.
    """
    rows = []
    table = margin_table(study).set_index("trial_id")[["m_in", "m_out"]]
    finished = study.trials[study.trials["status"] == "finished"]
    for trial_id, epoch in zip(finished["trial_id"], finished["checkpoint_epoch"], strict=True):
        if not study.has_scores(trial_id):
            continue
        sets = scores_at(study, trial_id, int(epoch))
        if _ENERGY not in sets[VAL_ID].scores:
            continue
        inside, outside = _energies(sets)
        wanted = table.loc[trial_id]
        rows.append(
            {
                "trial_id": trial_id,
                **wanted,
                "id_energy": float(inside.mean()),
                "ood_energy": float(outside.mean()),
                "id_above": float((inside > wanted["m_in"]).mean()),
                "ood_below": float((outside < wanted["m_out"]).mean()),
            }
        )
    if not rows:
        rule = "no finished trial kept the energies of its validation images"
        raise BadInput(Fault(str(study.folder.scores), _ENERGY, rule))
    return pd.DataFrame(rows)


def _energies(sets: dict[str, SetScores]) -> tuple[np.ndarray, np.ndarray]:
    outside = [one.scores[_ENERGY][0] for name, one in sets.items() if name != VAL_ID]
    return sets[VAL_ID].scores[_ENERGY][0], np.concatenate(outside)


def calibration(study: Records) -> Figure:
    """Mean energies that finished trials reached over the margins that they were given.

    On the diagonal the mean lies at its margin; ID images are not punished below it, OOD images
    not above it.

    Raises:
        BadInput: as `reached_energies`.
    """
    table = reached_energies(study)
    with styled():
        figure, axes = new_figure(COLUMN_IN, 3.0)
        axes.scatter(
            table["m_in"], table["id_energy"], s=22, color=BLUE, label="ID over m_in", zorder=3
        )
        axes.scatter(
            table["m_out"], table["ood_energy"], s=24, marker="^", color=ORANGE, zorder=3,
            label="OOD over m_out",
        )  # fmt: skip
        values = table[["m_in", "m_out", "id_energy", "ood_energy"]].to_numpy()
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        room = 0.05 * ((high - low) or 1.0)
        axes.plot([low - room, high + room], [low - room, high + room], color=GREY, lw=0.9, ls=":")
        axes.set_xlabel("Margin (nats)")
        axes.set_ylabel("Mean validation energy (nats)")
        figure.legend(loc="outside upper left", ncols=2, handletextpad=0.2)
    return figure


def energies(study: Records, trial_id: str, epoch: int) -> Figure:
    """Energies of ID and OOD validation images of the base and of a trial, with its margins.

    Raises:
        BadInput: if the trial has no margins or its energies were not kept.
    """
    margins = margin_table(study).set_index("trial_id").loc[trial_id]
    sets = scores_at(study, trial_id, epoch)
    if _ENERGY not in sets[VAL_ID].scores:
        rule = "the trial's scores hold no energies"
        raise BadInput(Fault(str(study.folder.trial_scores(trial_id)), _ENERGY, rule))
    base = base_scores(study, trial_id)
    shown = {"Base": base} if base is not None and _ENERGY in base[VAL_ID].scores else {}
    shown[f"Trial {trial_id}"] = sets
    every = np.concatenate([one for each in shown.values() for one in _energies(each)])
    low, high = np.quantile(every, [0.002, 0.998])
    low, high = min(low, margins["m_in"]), max(high, margins["m_out"])
    edges = np.linspace(low, high + 0.12 * (high - low), 45)
    with styled():
        figure, axes = new_figure(COLUMN_IN, 1.0 + 1.25 * len(shown))
        axes.remove()
        rows = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for one, (title, each) in zip(rows, shown.items(), strict=True):
            _draw(one, each, edges)
            for margin, colour in (("m_in", BLUE), ("m_out", ORANGE)):
                one.axvline(margins[margin], color=colour, lw=1.1, ls=(0, (4, 2)))
            one.set_title(title, fontsize=8.5, color=BLACK)
        for margin, side in (("m_in", "right"), ("m_out", "left")):
            rows[-1].annotate(
                margin, (margins[margin], 1.0), xycoords=("data", "axes fraction"),
                xytext=(-3 if side == "right" else 3, -2), textcoords="offset points",
                ha=side, va="top", fontsize=7.5,
            )  # fmt: skip
        rows[-1].set_xlabel("Energy (nats, lower = more ID)")
        figure.supylabel("Share of images (%)", fontsize=8.5)
        figure.legend(*rows[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def _draw(axes: Axes, sets: dict[str, SetScores], edges: np.ndarray) -> None:
    for values, colour, label in zip(_energies(sets), (BLUE, ORANGE), ("ID", "OOD"), strict=True):
        share = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.3)
        axes.stairs(share, edges, color=colour, lw=1.2, label=label)
    percent_axis(axes, y=True)
