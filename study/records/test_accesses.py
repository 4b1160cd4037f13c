"""How often a test set was opened on this machine, and by what: a ledger beside no run's folder.

It is keyed by the test sets' fingerprints, so that a renamed copy of a test set counts as the
same one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from study.records.files import TEST_OPENED
from study.records.ledger import Ledger, Record


def machine_ledger() -> Path:
    """``$OOD_STUDY_STATE/test_accesses.jsonl``; ``~/.local/state/ood-study`` by default."""
    named = os.environ.get("OOD_STUDY_STATE")
    folder = Path(named).expanduser() if named else Path.home() / ".local/state/ood-study"
    return folder / "test_accesses.jsonl"


def note_access(fingerprints: Mapping[str, str], *, run: str, reason: str) -> list[Record]:
    """Write down that test sets were opened, and tell which earlier openings share one.

    Args:
        fingerprints: of every test set that was opened, by name.
        run: folder of the study that opened them.
        reason: why, where it was not the first time.

    Returns:
        The earlier records on this machine that opened one of the same sets.
    """
    with Ledger(machine_ledger()) as ledger:
        same = set(fingerprints.values())
        before = [r for r in ledger.events(TEST_OPENED) if same & set(r["sets"].values())]
        ledger.append(TEST_OPENED, sets=dict(fingerprints), run=run, reason=reason)
    return before
