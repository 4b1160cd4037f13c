"""A study under several hold-outs as one: what each holds out and chose, and effects over all.

Classes held out, data, base, floor and choice are each hold-out's own; what is joined are the
paired differences, a pair a hold-out and a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.choice.selection import NoSelection, select
from analysis.numbers import MISSING, metric_label, percent
from analysis.report.arms import effect_tables, method_notes
from analysis.report.page import page_of
from analysis.results.effects import effects
from analysis.tables import Records
from study.errors import BadInput
from study.records.files import RunFolder, write_bytes
from study.scoring.objective import ID_ACCURACY

EACH = "What each hold-out gave, on validation"
_AMONG = (
    "A pair is a hold-out and a seed. The 95 % interval is for these hold-outs; the one over "
    "hold-outs takes each, by its mean over seeds, as one of many that might have been drawn "
    "(Student's, and wide with few)."
)


@dataclass(frozen=True)
class Overview:
    """Several hold-outs together.

    Attributes:
        table: ``effects`` of all; empty where there is nothing to compare.
        tables: title -> texts: each hold-out, then the effects.
        notes: what belongs beside them.
    """

    table: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    notes: list[str]


def overview(studies: Sequence[Records], metrics: Sequence[str] | None = None) -> Overview:
    """What several hold-outs say together.

    Args:
        studies: the study of each.
        metrics: of the effects; as `analysis.results.effects.effects`.
    """
    tables = {EACH: pd.DataFrame([_row(one) for one in studies])}
    try:
        table = effects(studies, metrics)
    except BadInput as error:
        if metrics:
            raise
        return Overview(pd.DataFrame(), tables, [fault.rule for fault in error.faults])
    tables |= effect_tables(studies, table)
    notes = [_AMONG, *method_notes(table)] if len(table) else []
    return Overview(table, tables, [*notes, *_shared_classes(studies)])


def write_overview(path: Path, studies: Sequence[Records]) -> Path:
    """Write the page of the folder above, and return its path."""
    found, place = overview(studies), RunFolder(path).report
    tables = {
        title: {"columns": list(one.columns), "rows": one.to_numpy().tolist()}
        for title, one in found.tables.items()
    }
    shown = {"name": path.resolve().name, "tables": tables, "notes": found.notes}
    shown["folders"] = [one.name for one in studies]
    write_bytes(place, page_of("hold_outs.html.j2", shown).encode())
    return place


def _row(study: Records) -> dict[str, str]:
    held: dict[str, list[str]] = study.section("data").get("hold_out") or {}
    row = {"hold-out": study.name}
    row |= {role: ", ".join(held.get(role) or ()) or MISSING for role in ("near_val", "near_test")}
    accuracy = (study.base.get("metrics") or {}).get(ID_ACCURACY)
    row["base, ID accuracy (%)"] = percent(accuracy)
    row["floor (%)"] = percent(study.floor.value) if study.floor else MISSING
    names = ("chosen", metric_label(study.metric), metric_label(ID_ACCURACY))
    try:
        chosen = select(study)
    except NoSelection:
        return row | dict.fromkeys(names, MISSING)
    first = chosen.candidates.iloc[0]
    low, high = map(percent, chosen.interval or (None, None))
    told = f"{percent(chosen.value)} [{low}, {high}]" if chosen.interval else percent(chosen.value)
    arm: Any = first.get("arm")
    named = chosen.trial_id if pd.isna(arm) else str(arm)
    return row | dict(zip(names, (named, told, percent(first[ID_ACCURACY])), strict=True))


def _shared_classes(studies: Sequence[Records]) -> list[str]:
    """Classes that one hold-out selects on and another tests on."""
    roles: dict[str, set[str]] = {"near_val": set(), "near_test": set()}
    for study in studies:
        held = study.section("data").get("hold_out") or {}
        for role, names in roles.items():
            names |= set(held.get(role) or ())
    both = ", ".join(sorted(roles["near_val"] & roles["near_test"]))
    if not both:
        return []
    return [
        f"{both}: near_val of one hold-out and near_test of another. Each hold-out chooses by its "
        "own near_val alone; who takes one choice for all of them has selected on these classes."
    ]
