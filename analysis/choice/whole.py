"""Whether a study may be chosen from: its search is over, its files are what the ledger says."""

from __future__ import annotations

from shlex import quote

from analysis.tables import Records
from study.errors import BadInput, Fault
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


def refuse_early(study: Records, now: str) -> None:
    """No test is opened while the search goes on, unless the choice was made early on purpose.

    Args:
        study: its records.
        now: why the choice was frozen before the end; empty where it was not.

    Raises:
        BadInput: with what is left of the search.
    """
    left = left_to_do(study)
    if left and not now:
        rule = f"the search is not over: {left}"
        raise BadInput(Fault(str(study.folder.ledger), "", rule, go_on(study)))


def go_on(study: Records) -> str:
    """What to do about a search that is not over."""
    folder = quote(str(study.folder.path))
    return (
        f"Go on with `python run_study.py --resume {folder}`, or freeze the best so far with "
        f'`python -m analysis select {folder} --now "why"`, which ledger and report keep.'
    )


def unfinished_note(study: Records) -> str:
    """What a choice says of a search that was not whole; empty where it was."""
    missing = reached(study.ledger).missing
    return f"Chosen before the search was over: {missing}." if missing else ""
