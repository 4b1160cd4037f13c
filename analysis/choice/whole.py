"""Whether a study may be chosen from: its search is over, its files are what the ledger says."""

from __future__ import annotations

from analysis.tables import Records
from study.errors import BadInput
from study.records.sealed import changed_files, reached

TIME_BUDGET = "time budget"  # a session that ended for it has ended as it was meant to


def refuse_changed(study: Records) -> None:
    """Nothing is chosen from tables, a spec or a manifest that were changed after the search.

    Raises:
        BadInput: naming each file that is not what the ledger holds the hash of.
    """
    if changed := changed_files(study.folder, reached(study.ledger)):
        raise BadInput(changed)


def left_to_do(study: Records) -> str:
    """What is left of the search, as words; empty where it is over or its time was up.

    A study that was given a time budget may be chosen from when that is spent: the choice says
    what was left (`unfinished_note`).
    """
    found = reached(study.ledger)
    return "" if found.reason == TIME_BUDGET else found.missing


def unfinished_note(study: Records) -> str:
    """What a choice says of a search that was not whole; empty where it was."""
    missing = reached(study.ledger).missing
    return f"Chosen before the search was over: {missing}." if missing else ""
