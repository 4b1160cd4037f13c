"""How often a test set was opened on this machine, and by what: a ledger beside no run's folder.

It is keyed by the test sets' fingerprints, so that a renamed copy of a test set counts as the
same one.
"""

from __future__ import annotations

from pathlib import Path

from study.records.files import TEST_OPENED
from study.records.home import own_folder
from study.records.ledger import Ledger, Record


def machine_ledger() -> Path:
    """``$OOD_STUDY_STATE/test_accesses.jsonl``; ``~/.local/state/ood-study`` by default.

    Raises:
        BadInput: as `own_folder`.
    """
    return own_folder("OOD_STUDY_STATE", ".local/state/ood-study") / "test_accesses.jsonl"


def note_access(opening: Record, *, run: str) -> list[Record]:
    """Write down that test sets were opened, and tell which earlier openings share one.

    An opening that is written down already, since the final test was cut off after it, is not
    written again.

    Args:
        opening: the record of it in the run's ledger: sets (fingerprints by name), reason, time.
        run: folder of the study that opened them.

    Returns:
        The earlier records on this machine that opened one of the same sets.
    """
    same, when = set(opening["sets"].values()), opening["time"]
    with Ledger(machine_ledger(), wait=True) as ledger:
        before: list[Record] = []
        for record in ledger.events(TEST_OPENED):
            if (record["run"], record.get("opened")) == (run, when):
                return before
            if same & set(record["sets"].values()):
                before.append(record)
        told = {"sets": opening["sets"], "run": run, "reason": opening["reason"]}
        ledger.append(TEST_OPENED, **told, opened=when)
    return before
