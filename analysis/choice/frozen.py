"""Freezing a choice: what selection.json holds, and when it may take an older one's place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from analysis.choice.cells import NoScores
from analysis.choice.confirmation import frozen_part
from analysis.choice.corrected import LEVEL, Correction, correct_study
from analysis.choice.selection import NoSelection, Selection, summary_row
from analysis.numbers import number, percent, with_percent
from analysis.tables import Records
from study.records.files import TEST_OPENED, write_json
from study.records.frozen import SELECTED, read_frozen, seal
from study.records.ledger import Ledger

SCHEMA = 1
_CHOSEN = ("trial_id", "epoch", "winner")


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

    Raises:
        NoSelection: where a confirmation let no candidate through; an unopened choice goes then.
    """
    path = study.folder.selection
    old = read_frozen(study.folder.path) if path.exists() else None
    try:
        part = frozen_part(study, selection)
    except NoSelection:
        if not ledger.events(TEST_OPENED):
            path.unlink(missing_ok=True)
        raise
    chosen = (selection.trial_id, selection.epoch, part["winner"])
    if old is not None and tuple(old[key] for key in _CHOSEN) == chosen:
        _note(ledger, old)
        return f"Frozen as {old['sha256'][:16]} in {path}."
    if old is not None and ledger.events(TEST_OPENED):
        return (
            f"{path} keeps trial {old['winner']}: the test sets were opened on it. Start a study "
            "of its own to test another choice."
        )
    content = seal({**_content(study, selection), **part})
    write_json(path, content)
    _note(ledger, content)
    return f"Frozen as {content['sha256'][:16]} in {path}."


def _note(ledger: Ledger, frozen: Mapping[str, Any]) -> None:
    """Tell the ledger of a choice, unless it knows: a kill may come after the file's writing."""
    told = ledger.events(SELECTED)
    if not told or told[-1]["sha256"] != frozen["sha256"]:
        ledger.append(SELECTED, trial_id=frozen["winner"], sha256=frozen["sha256"])


def _content(study: Records, selection: Selection) -> dict[str, Any]:
    """What selection.json holds.

    Keys: those of ``summary_row``; interval_of (what was resampled and how); those of
    ``corrected_part``; threshold_recall, candidates (each with its numbers). Beside them those
    of ``frozen_part``: confirmation, and winner (the trial that goes to the final test) with
    its epoch, weights and threshold.
    """
    candidates = [
        {key: _plain(value) for key, value in row.items()}
        for row in selection.candidates.to_dict("records")
    ]
    return {
        "schema": SCHEMA,
        **summary_row(selection),
        "interval_of": {
            "level": selection.interval.level if selection.interval else None,
            "method": _interval_method(selection),
            "num_resamples": selection.num_resamples,
            "seed": selection.seed,
            "ood_sets": list(study.ood_sets),
        },
        **corrected_part(study, selection),
        "threshold_recall": 0.95,
        "candidates": candidates,
    }


def _interval_method(selection: Selection) -> str:
    images = "images by source group, ID and OOD apart"
    if len(selection.seed_trials) > 1:
        return (
            f"Student's t on asin(sqrt) of the mean over seeds, bootstrap over seeds and {images}"
        )
    return f"percentile bootstrap over {images}"


def corrected_part(study: Records, selection: Selection) -> dict[str, Any]:
    """What selection.json says of the value's being the best of N.

    Returns:
        Keys corrected_value (a fraction; null where it cannot be had), corrected_interval (low
        and high, or null), corrected_of (level, num_candidates, num_epochs, num_resamples, and
        wins: trial id, or arm, -> share of the resamples that it won; or null) and
        corrected_note: how it was obtained, or why not.
    """
    try:
        found = correct_study(study, selection.compared, seed=selection.seed)
    except NoScores as error:
        return _not_corrected(selection, str(error))
    if set(found.trial_ids) != set(selection.seed_trials) or not math.isclose(
        found.value, selection.value, abs_tol=1e-9
    ):
        return _not_corrected(selection, "the tables and the per-image scores disagree")
    return {
        "corrected_value": found.corrected,
        "corrected_interval": list(found.interval),
        "corrected_of": _told(found, selection),
        "corrected_note": found.how,
    }


def corrected_of(study: Records, selection: Selection) -> dict[str, Any]:
    """``corrected_part``, from selection.json where it holds this very choice."""
    path = study.folder.selection
    frozen = read_frozen(study.folder.path) if path.exists() else {}
    names = ("corrected_value", "corrected_interval", "corrected_of", "corrected_note")
    same = (frozen.get("trial_id"), frozen.get("epoch")) == (selection.trial_id, selection.epoch)
    if same and frozen.get("corrected_value") is not None and names[2] in frozen:
        return {name: frozen[name] for name in names}
    return corrected_part(study, selection)


def _told(found: Correction, selection: Selection) -> dict[str, Any]:
    wins = found.wins[found.wins["wins"] > 0]
    names = {
        row["seed_trials"][0]: row["arm"] if isinstance(row["arm"], str) else row["trial_id"]
        for _, row in selection.candidates.iterrows()
    }
    return {
        "level": found.interval.level,
        "num_candidates": found.num_candidates,
        "num_epochs": found.num_cells,
        "num_resamples": found.num_resamples,
        "wins": dict(zip(wins["trial_id"].map(names), wins["wins"], strict=True)),
    }


def _not_corrected(selection: Selection, why: str) -> dict[str, Any]:
    note = (
        f"not corrected for being the best of {len(selection.candidates)} candidates, so the "
        f"value is optimistic (the final test is not): {why}"
    )
    return {
        "corrected_value": None,
        "corrected_interval": None,
        "corrected_of": None,
        "corrected_note": note,
    }


def corrected_text(
    part: Mapping[str, Any], metric: str, form: Callable[[Any], str] = with_percent
) -> str:
    """``corrected_part`` (or a frozen choice) as a sentence for readers.

    Args:
        part: what is told.
        metric: that the value is of.
        form: how its fractions are written beside it, with the unit.
    """
    if part.get("corrected_value") is None:
        note = str(part.get("corrected_note") or "not corrected for having been the best")
        return f"{note[:1].upper()}{note[1:]}"
    form = number if metric.endswith("objective") else form
    low, high = (form(end) for end in part["corrected_interval"])
    of = part["corrected_of"]
    level = f"{100 * of.get('level', LEVEL):.0f} % interval"
    count = of["num_candidates"]
    best = f"the best of {count} candidates" if count > 1 else "the best epoch of one candidate"
    return (
        f"Corrected for being {best}: {form(part['corrected_value'])}, "
        f"{level} {low.removesuffix(' %')} to {high}"
    )


def corrected_how(part: Mapping[str, Any]) -> str:
    """How the correction was made, as sentences; empty where there is none."""
    if part.get("corrected_value") is None:
        return ""
    return str(part.get("corrected_note") or "")


def wins_text(part: Mapping[str, Any]) -> str:
    """Which trials won the resamples, the first five; empty where nothing was resampled."""
    wins = (part.get("corrected_of") or {}).get("wins") or {}
    told = [f"{name} {percent(share)} %" for name, share in list(wins.items())[:5]]
    more = f", {len(wins) - 5} more" if len(wins) > 5 else ""
    return f"Chosen in the resamples of the selection: {', '.join(told)}{more}" if told else ""


def _plain(value: Any) -> Any:
    """JSON's own types; what is missing becomes null."""
    if isinstance(value, tuple):
        return list(value)
    value = value.item() if hasattr(value, "item") else value
    return None if pd.isna(value) or value in (math.inf, -math.inf) else value
