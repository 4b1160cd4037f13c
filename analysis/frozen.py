"""Freezing a choice: what selection.json holds, and when it may take an older one's place."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from analysis.selection import Selection, summary_row
from analysis.tables import Records
from study.frozen import SELECTED, file_hash, read_frozen, seal
from study.ledger import Ledger
from study.records import TEST_OPENED, WEIGHTS, write_json

SCHEMA = 1


def freeze_choice(study: Records, selection: Selection, ledger: Ledger) -> str:
    """Freeze ``selection``, unless it is frozen already or a test was opened on another.

    A choice may be made anew while no test set was opened on the old one (more trials came in);
    afterwards the old one stays: a winner picked later would be tested on sets already seen.

    Args:
        study: its records.
        selection: by the study's rule.
        ledger: the run's, open; gets a line where the choice is new.

    Returns:
        One sentence on what is frozen.
    """
    path = study.folder.selection
    old = read_frozen(study.folder.path) if path.exists() else None
    if old is not None and (old["winner"], old["epoch"]) == (selection.trial_id, selection.epoch):
        return f"Frozen as {old['sha256'][:16]} in {path}."
    if old is not None and ledger.events(TEST_OPENED):
        return (
            f"{path} keeps trial {old['winner']}: the test sets were opened on it. Start a study "
            "of its own to test another choice."
        )
    content = seal(_content(study, selection))
    write_json(path, content)
    ledger.append(SELECTED, trial_id=selection.trial_id, sha256=content["sha256"])
    return f"Frozen as {content['sha256'][:16]} in {path}."


def _content(study: Records, selection: Selection) -> dict[str, Any]:
    """What selection.json holds.

    Keys: those of ``summary_row``; weights_sha256; interval_of (what was resampled and how),
    corrected_value and confirmation (null until they exist, with a note), winner (the trial that
    goes to the final test), threshold_recall, candidates (each with its numbers).
    """
    candidates = [
        {key: _plain(value) for key, value in row.items()}
        for row in selection.candidates.to_dict("records")
    ]
    return {
        "schema": SCHEMA,
        **summary_row(selection),
        "weights_sha256": file_hash(study.folder.trial_checkpoints(selection.trial_id) / WEIGHTS),
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
