"""The frozen choice on disk: selection.json, sealed by a hash of its content."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.selection import Selection, summary_row
from analysis.tables import Records
from study.errors import BadInput, Fault
from study.records import RunFolder, write_json

SCHEMA = 1
_SEAL = "sha256"


def freeze(study: Records, selection: Selection) -> dict[str, Any]:
    """Write selection.json and return what it holds.

    Keys: those of ``summary_row``; interval_of (what was resampled and how), corrected_value
    and confirmation (null until they exist, with a note), winner (the trial that goes to the
    final test), threshold_recall, candidates (each with its numbers), sha256 of all the rest.
    """
    content = seal(_content(study, selection))
    write_json(study.folder.selection, content)
    return content


def _content(study: Records, selection: Selection) -> dict[str, Any]:
    candidates = [
        {key: _plain(value) for key, value in row.items()}
        for row in selection.candidates.to_dict("records")
    ]
    return {
        "schema": SCHEMA,
        **summary_row(selection),
        "interval_of": {
            "level": selection.interval.level if selection.interval else None,
            "method": "percentile bootstrap over images by source group, ID and OOD apart",
            "num_resamples": selection.num_resamples,
            "seed": selection.seed,
            "ood_sets": list(study.ood_sets),
        },
        "corrected_value": None,
        "corrected_note": (
            f"not corrected for being the best of {len(candidates)} candidates: the value is "
            "optimistic, the final test is not"
        ),
        "confirmation": None,
        "confirmation_note": "not re-run on fresh seeds",
        "winner": selection.trial_id,
        "threshold_recall": 0.95,
        "candidates": candidates,
    }


def _plain(value: Any) -> Any:
    """JSON's own types; what is missing becomes null."""
    value = value.item() if hasattr(value, "item") else value
    return None if pd.isna(value) or value in (math.inf, -math.inf) else value


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` with the hash of itself."""
    return {**content, _SEAL: content_hash(content)}


def content_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of everything but the seal."""
    rest = {key: value for key, value in content.items() if key != _SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_frozen(folder: Path) -> dict[str, Any]:
    """The frozen choice of a run.

    Raises:
        BadInput: if there is none, or it is not what was written.
    """
    path = RunFolder(folder).selection
    if not path.exists():
        rule = "no trial has been chosen yet"
        way = f"Run `python -m analysis select {folder}` first."
        raise BadInput(Fault(str(path), "", rule, way))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        intact = content[_SEAL] == content_hash(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(_tampered(path, f"it is not readable as one ({error!r})")) from error
    if not intact:
        raise BadInput(_tampered(path, "its content does not match its hash"))
    return dict(content)


def _tampered(path: Path, what: str) -> Fault:
    rule = f"this is not the choice that was frozen: {what}"
    way = "Restore the file; or remove it and run `python -m analysis select` again, which the "
    return Fault(str(path), "sha256", rule, f"{way}ledger shows.")
