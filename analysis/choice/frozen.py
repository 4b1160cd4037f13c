"""Freezing a choice: what selection.json holds, and when it may take an older one's place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from analysis.bases import marks
from analysis.choice.cells import NoScores, cells_of_study
from analysis.choice.confirmation import frozen_part
from analysis.choice.corrected import LEVEL, Correction, correct
from analysis.choice.held import HELD, with_held
from analysis.choice.replayed import not_played, search_of
from analysis.choice.screened import on_record, screened
from analysis.choice.selection import NoSelection, Selection, select, summary_row
from analysis.choice.whole import (
    after_test_note,
    go_on,
    left_to_do,
    refuse_changed,
    unchecked_note,
    unfinished_note,
)
from analysis.numbers import percent, plain, with_unit
from analysis.tables import Records
from study.errors import BadInput
from study.records.files import TEST_OPENED, write_json
from study.records.frozen import SELECTED, read_frozen, seal
from study.records.ledger import Ledger

SCHEMA = 1
_CORRECTED = ("corrected_value", "corrected_interval", "corrected_of", "corrected_note")


def freeze_choice(study: Records, selection: Selection, ledger: Ledger, *, now: str = "") -> str:
    """Freeze ``selection``, unless it is frozen already or a test was opened on another.

    A choice may be made anew while no test set was opened on the old one (more trials came in);
    afterwards an old winner stays: one picked later would be tested on sets already seen. Where
    the same one is chosen among other candidates it is frozen anew, since its correction is of
    these. What is frozen after a test says so.

    Args:
        study: its records.
        selection: by the study's rule.
        ledger: the run's, open; gets a line where the choice is new.
        now: why it is frozen before the search is over; empty where it is to be over.

    Returns:
        One sentence on what is frozen, or why nothing is.

    Raises:
        BadInput: where tables, spec or manifest are not what the ledger holds the hashes of.
        NoSelection: where a confirmation let no candidate through; an unopened choice goes then.
    """
    path = study.folder.selection
    refuse_changed(study, but=path)
    if (left := left_to_do(study)) and not now:
        return f"Not frozen: {left}. {go_on(study)}"
    old = read_frozen(study.folder.path) if path.exists() else None
    try:
        part = frozen_part(study, selection)
    except NoSelection:
        if not ledger.events(TEST_OPENED):
            path.unlink(missing_ok=True)
        raise
    chosen = (*selection.place, part["winner"], part["winner_alpha"])
    same, opened = old is not None and _of_choice(old) == chosen, ledger.events(TEST_OPENED)
    if old is not None and same and _is_up_to_date(study, old, selection, ledger):
        return _told_frozen(study, old)
    if old is not None and not same and opened:
        return (
            f"{path} keeps trial {old['winner']}: the test sets were opened on it. Start a study "
            "of its own to test another choice."
        )
    told = {
        "unfinished": unfinished_note(study),
        "now": now,
        "unchecked": unchecked_note(study),
        "after_test": opened[0]["time"] if opened else "",
        "num_trials": len(study.trials),
    }
    content = seal({**_content(study, selection), **part, **told})
    write_json(path, content)
    _note(ledger, content)
    return _told_frozen(study, content)


def _is_up_to_date(
    study: Records, old: Mapping[str, Any], selection: Selection, ledger: Ledger
) -> bool:
    """Whether a frozen choice, which the ledger knows, says of its winner what is true today."""
    known = [one["sha256"] for one in ledger.events(SELECTED)[-1:]] == [old["sha256"]]
    unfinished = str(old.get("unfinished") or "")
    same = bool(ledger.events(TEST_OPENED)) or unfinished == unfinished_note(study)
    return known and same and _is_among(study, old, selection)


def _told_frozen(study: Records, frozen: Mapping[str, Any]) -> str:
    told = f"Frozen as {frozen['sha256'][:16]} in {study.folder.selection}."
    return f"{told} {after_test_note(str(frozen.get('after_test') or ''))}".rstrip()


def notes_of(study: Records, selection: Selection) -> list[str]:
    """What is said beside a choice of how it came about: early, unchecked, after a test."""
    frozen = frozen_or_nothing(study)
    if not frozen or _of_choice(frozen)[:3] != selection.place:
        return [one for one in (unfinished_note(study), unchecked_note(study)) if one]
    now = f"Frozen early on purpose: {frozen['now']}." if frozen.get("now") else ""
    told = (frozen.get("unfinished"), now, frozen.get("unchecked"))
    after = after_test_note(str(frozen.get("after_test") or ""))
    return [str(one) for one in (*told, after) if one]


def _is_among(study: Records, frozen: Mapping[str, Any], selection: Selection) -> bool:
    """Whether a frozen choice was made among the candidates, and in the search, of today.

    Trials that were stopped count: the correction plays their rungs again.
    """
    then = [_candidate(one) for one in frozen.get("candidates") or ()]
    now = [_candidate(one) for one in plain(selection.candidates)]
    searched = len(study.trials)
    return then == now and frozen.get("num_trials", searched) == searched


def _candidate(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row.get("trial_id"), row.get("epoch"), tuple(row.get("seed_trials") or ())


def _of_choice(frozen: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes a frozen choice this one; older files know no path."""
    keys = ("trial_id", "epoch", "alpha", "winner", "winner_alpha")
    return tuple(frozen.get(key, 1.0) for key in keys)


def _note(ledger: Ledger, frozen: Mapping[str, Any]) -> None:
    """Tell the ledger of a choice, unless it knows: a kill may come after the file's writing."""
    told = ledger.events(SELECTED)
    if not told or told[-1]["sha256"] != frozen["sha256"]:
        more = {key: frozen[key] for key in ("now", "after_test") if frozen.get(key)}
        ledger.append(SELECTED, trial_id=frozen["winner"], sha256=frozen["sha256"], **more)


def _content(study: Records, selection: Selection) -> dict[str, Any]:
    """What selection.json holds.

    Keys: those of ``summary_row``; interval_of (what was resampled and how); those of
    ``corrected_part``; few_candidates (a sentence where there were fewer than five, else empty);
    marks (sentences on what the choice's start had seen before);
    threshold_recall; floor_holds (probability) and floor_shortfall (expected,
    a fraction) of the choice, null without a floor; candidates (each with its numbers);
    unfinished (what was left of the search, as a sentence, else empty) and now (why it was frozen
    all the same); unchecked (which files the ledger held no hash of), num_trials (of the search)
    and after_test (when the test sets had been opened before, else empty). Beside them those of
    ``frozen_part``: confirmation, and winner (the trial that goes to the final test) with its
    epoch, alpha, weights and threshold.
    """
    candidates = with_held(study, selection.candidates)
    held = plain(candidates[list(HELD)].iloc[0].to_dict())
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
        "few_candidates": selection.few,
        "marks": marks(study, selection.seed_trials),
        "threshold_recall": 0.95,
        **held,
        "candidates": plain(candidates),
    }


def _interval_method(selection: Selection) -> str:
    images = "images by source group, ID and OOD apart"
    if len(selection.seed_trials) > 1:
        return (
            f"Student's t on asin(sqrt) of the mean over seeds, bootstrap over seeds and {images}"
        )
    return (
        f"bootstrap over {images}; Student's t by the number of sources, on asin(sqrt) of a share "
        "and on the logit of an area"
    )


def corrected_part(study: Records, selection: Selection) -> dict[str, Any]:
    """What selection.json says of the value's being the best of N.

    Returns:
        Keys corrected_value (a fraction; null where it cannot be had), corrected_interval (low
        and high, or null), corrected_of (level, num_candidates, num_epochs, num_resamples,
        left_out: what is not corrected for, and wins: trial id, or arm, -> share of the resamples
        that it won; or null) and corrected_note: how it was obtained, or why not.
    """
    try:
        found = correct_choice(study, selection=selection)
        same = set(found.trial_ids) == set(selection.seed_trials)
        if not (same and math.isclose(found.value, selection.value, abs_tol=1e-9)):
            raise NoScores("the tables and the per-image scores disagree")
    except NoScores as error:
        note = (
            f"not corrected for being the best of {len(selection.candidates)} candidates, so the "
            f"value is optimistic (the final test is not): {error}"
        )
        return dict(zip(_CORRECTED, (None, None, None, note), strict=True))
    values = (found.corrected, list(found.interval), _told(found, selection), found.how)
    return dict(zip(_CORRECTED, values, strict=True))


def correct_choice(
    study: Records, num_resamples: int | None = None, *, selection: Selection | None = None
) -> Correction:
    """The value that the study's rule chose, corrected for its being the best.

    Args:
        study: its records.
        num_resamples: of the selection; see ``correct``.
        selection: what was chosen; asked of the study where None.

    Raises:
        NoSelection: where nothing may be chosen.
        NoScores: where the per-image scores of a candidate do not allow it.
    """
    selection = selection or select(study, 1)
    states = screened(study, selection.compared)
    cells = cells_of_study(study, selection.compared, states=states)
    search = search_of(study)
    found = correct(cells, search=search, num_resamples=num_resamples, seed=selection.seed)
    found = replace(found, left_out=not_played(study))
    if states is None:
        return found
    compared = on_record(study, selection.compared)
    assert compared is not None, "nothing is screened that is not on record"
    return replace(
        found,
        num_candidates=len(selection.candidates),
        num_cells=len(compared),
        num_read=len(cells.trial),
    )


def corrected_of(study: Records, selection: Selection) -> dict[str, Any]:
    """``corrected_part``, from selection.json where it holds this very choice."""
    frozen = read_frozen(study.folder.path) if study.folder.selection.exists() else {}
    same = bool(frozen) and _of_choice(frozen)[:3] == selection.place
    same = same and _is_among(study, frozen, selection)
    if same and frozen.get("corrected_value") is not None and "corrected_of" in frozen:
        return {name: frozen[name] for name in _CORRECTED}
    return corrected_part(study, selection)


def frozen_or_nothing(study: Records) -> Mapping[str, Any]:
    """What selection.json holds; empty where there is none, or none that is intact."""
    try:
        return read_frozen(study.folder.path)
    except BadInput:
        return {}


def _told(found: Correction, selection: Selection) -> dict[str, Any]:
    wins = found.wins[found.wins["wins"] > 0]
    names = {
        row["seed_trials"][0]: row["arm"] if isinstance(row["arm"], str) else row["trial_id"]
        for _, row in selection.candidates.iterrows()
    }
    named = wins["trial_id"].map(lambda name: names.get(name, name))
    return {
        "level": found.interval.level,
        "num_candidates": found.num_candidates,
        "num_epochs": found.num_cells,
        "num_resamples": found.num_resamples,
        "left_out": found.left_out,
        "wins": dict(zip(named, wins["wins"], strict=True)),
    }


def corrected_text(part: Mapping[str, Any]) -> str:
    """``corrected_part`` (or a frozen choice) as a sentence for readers."""
    if part.get("corrected_value") is None:
        note = str(part.get("corrected_note") or "not corrected for having been the best")
        return f"{note[:1].upper()}{note[1:]}"
    of = part["corrected_of"]
    level = f"{100 * of.get('level', LEVEL):.0f} % interval"
    count = of["num_candidates"]
    best = f"the best of {count} candidates" if count > 1 else "the best epoch of one candidate"
    low, high = part["corrected_interval"]
    value, end = (with_unit(one) for one in (part["corrected_value"], high))
    return f"Corrected for being {best}: {value}, {level} {percent(low)} to {end}"


def left_out_text(part: Mapping[str, Any]) -> str:
    """What a correction leaves out, as a sentence; empty for nothing."""
    return str((part.get("corrected_of") or {}).get("left_out") or "")


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
