"""Whether a study may be chosen from: its search is over, its files are what the ledger says."""

from __future__ import annotations

from pathlib import Path

from analysis.choice.recomputed import unlike_their_scores, unsealed
from analysis.numbers import plain_time
from analysis.tables import Records
from study.counted import counted
from study.errors import BadInput, Fault
from study.invoked import analyse_command, run_command
from study.records.frozen import SELECTED, read_frozen
from study.records.sealed import changed_files, unlike_the_ledger
from study.terminal import pasted

TIME_BUDGET = "time budget"  # a session that ended for it has ended as it was meant to


def refuse_changed(study: Records, *, but: Path | None = None) -> None:
    """Nothing is chosen from tables, a spec or a manifest that were changed after the search.

    Where the ledger holds no hash of the table (the search moved on, was cut off, or is of an
    older version), each of its rows is compared with the ledger's lines; where it holds none of
    a trial's scores, its metrics are computed again from them.

    Args:
        study: its records.
        but: a file, or a folder of them, that is not asked about: it is about to be made anew.

    Raises:
        BadInput: naming each file that is not what the ledger holds the hash of, or that it
            tells otherwise; a frozen choice that it does not tell of; and a ledger that does not
            tell how the study began.
    """
    folder, found = study.folder, study.reached
    if not study.events("started"):
        rule = "does not tell how the study began, so nothing can be chosen in it"
        raise BadInput(Fault(str(folder.ledger), "", rule, "Restore it from a copy."))
    changed = changed_files(folder, found, but=but)
    if folder.trials.name not in found.sealed:
        tables = (study.trials, study.confirming, study.tuning)
        rows = [row for table in tables for row in table.to_dict("records")]
        changed += unlike_the_ledger(folder, rows, study.ledger)
    changed += unlike_their_scores(study)
    if folder.selection != but and (forged := _forged(study)):
        changed.append(forged)
    if changed:
        raise BadInput(changed)


def _forged(study: Records) -> Fault | None:
    """What is wrong with a selection.json that is intact by itself: the ledger knows another."""
    told = [record["sha256"] for record in study.events(SELECTED)]
    path = study.folder.selection
    if not path.exists() or read_frozen(study.folder.path)["sha256"] in told[-1:]:
        return None
    command = f"`python -m analysis select {pasted([str(study.folder.path)])}` writes it anew."
    return Fault(str(path), "sha256", "this is not the choice that the ledger tells of", command)


def unchecked_note(study: Records) -> str:
    """Which of a study's files the ledger holds no hash of; empty where it holds all."""
    folder, found = study.folder, study.reached
    paths = (folder.spec, folder.manifest, folder.trials)
    names = [path.name for path in paths if path.name not in found.sealed]
    again = unsealed(study)
    names += [f"the scores of {counted(len(again), 'trial')}"] if again else []
    if not names:
        return ""
    why = (
        "its last session was cut off, or still runs" if found.cut_off
        else "they are of an older version"
    )  # fmt: skip
    told = f"Not checked by a hash, since the ledger holds none ({why}): {', '.join(names)}."
    return f"{told} The metrics were computed again from the scores." if again else told


def after_test_note(opened: str) -> str:
    """What a choice says that was frozen after the test sets were opened; empty for others.

    Args:
        opened: when they were; empty where they were not.
    """
    if not opened:
        return ""
    return (
        f"Frozen after the test sets were opened ({plain_time(opened)}): who made the choice "
        "may have known the test."
    )


def left_to_do(study: Records) -> str:
    """What is left of the search, as words; empty where it is over or its time was up.

    A study that was given a time budget may be chosen from when that is spent: the choice says
    what was left (`unfinished_note`).
    """
    found = study.reached
    return "" if found.reason == TIME_BUDGET else _missing(study)


def _missing(study: Records) -> str:
    """What is left of the search; of an older ledger by the number of trials in the spec."""
    found = study.reached
    wanted = study.section("tune").get("num_trials")
    searched = not study.section("ablate") and study.section("tune").get("searcher") != "grid"
    if found.missing or found.complete or not (searched and isinstance(wanted, int)):
        return found.missing
    left = wanted - found.asked
    return f"{left} of {wanted} were not begun" if found.asked and left > 0 else ""


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
    folder = study.folder.path
    again = run_command("--resume", folder)
    return (
        f"Go on with `{again}`, or freeze the best so far with "
        f'`{analyse_command("select", folder)} --now "why"`, which ledger and report keep.'
    )


def unfinished_note(study: Records) -> str:
    """What a choice says of a search that was not whole; empty where it was."""
    missing = _missing(study)
    return f"Chosen before the search was over: {missing}." if missing else ""
