"""``python -m analysis margins``."""

from __future__ import annotations

from argparse import Namespace

import pandas as pd

from analysis.commands import Result
from analysis.numbers import metric_label, number, percent
from analysis.results.margins import margin_table, measured_energies
from analysis.tables import Records


def run(study: Records, _: Namespace) -> Result:
    """Energies of the base and the margins of every trial, beside its results."""
    energies, table = measured_energies(study), margin_table(study)
    shown = pd.DataFrame({"trial": table["trial_id"], "status": table["status"].astype("str")})
    for margin in ("m_in", "m_out"):
        shown[margin] = table[margin].map(number)
        shown[f"{margin} (sd)"] = table[f"{margin}_sd"].map(number)
    for metric in (name for name in table.columns if name.startswith("val/")):
        shown[metric_label(metric)] = table[metric].map(percent)
    told = energies.assign(mean=energies["mean"].map(number), sd=energies["sd"].map(number))
    title = "Energies of the base, nats (lower = more ID)"
    return Result({"energies": energies, "trials": table}, {title: told, "Margins, nats": shown})
