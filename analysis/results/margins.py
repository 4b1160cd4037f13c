"""Margins of the energy loss beside the energies that were measured and what they gave."""

from __future__ import annotations

import pandas as pd

from analysis.bases import bases
from analysis.choice.selection import ID_ACCURACY
from analysis.tables import BASE, Records
from study.errors import BadInput, Fault

_ENERGIES = ("id_energy_mean", "id_energy_sd", "outlier_energy_mean", "outlier_energy_sd")


def measured_energies(study: Records) -> pd.DataFrame:
    """Energies of the base before any fine-tuning.

    Returns:
        images ("validation ID", "outliers"), mean and sd of the energy (nats; lower = more ID);
        where arms start from several bases, the base too, and two rows each.

    Raises:
        BadInput: if the study measured none.
    """
    told = bases(study) or {BASE: {}}
    missing = [key for key in _ENERGIES if any(one.get(key) is None for one in told.values())]
    if missing:
        rule = f"the manifest has no {', '.join(missing)}: no base was measured in this study"
        way = "Margins are told for studies of the energy recipe over a base."
        raise BadInput(Fault(str(study.folder.manifest), "base", rule, way))
    rows = [
        {"base": name, "images": images, "mean": float(base[mean]), "sd": float(base[sd])}
        for name, base in told.items()
        for images, mean, sd in (
            ("validation ID", *_ENERGIES[:2]),
            ("outliers", *_ENERGIES[2:]),
        )
    ]
    return pd.DataFrame(rows).drop(columns=[] if len(told) > 1 else ["base"])


def margin_table(study: Records) -> pd.DataFrame:
    """The margins of every trial and what came out.

    Returns:
        trial_id, status, m_in and m_out (nats, resolved), m_in_sd and m_out_sd (standard
        deviations of the base's energies, missing where the margin was absolute), the study's
        metric and val/id_accuracy (fractions).

    Raises:
        BadInput: if the trials have no margins.
    """
    trials = study.trials
    columns = {"trial_id": trials["trial_id"], "status": trials["status"]}
    for margin in ("m_in", "m_out"):
        forms = (f"param/train.{margin}.value", f"param/train.{margin}")
        column = next((form for form in forms if form in trials.columns), None)
        if column is None:
            rule = "the trials of this study have no margins"
            raise BadInput(Fault(str(study.folder.trials), f"param/train.{margin}", rule))
        columns[margin] = pd.to_numeric(trials[column], errors="coerce")
        columns[f"{margin}_sd"] = trials.get(
            f"param/train.{margin}.sd", pd.Series(float("nan"), index=trials.index)
        )
    for metric in (study.metric, ID_ACCURACY):
        if metric in trials.columns:
            columns[metric] = trials[metric]
    return pd.DataFrame(columns)
