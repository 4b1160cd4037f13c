"""How far a search has come, and what its files were then: told by the ledger, asked by all.

When a session of a search ends, the ledger gets a line with the hash of every table, of the spec
and of the manifest. Whoever chooses, freezes or tests asks here whether they are still that, and
whether the search is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from study.errors import Fault
from study.records.files import CONFIRM, RunFolder, trial_id
from study.records.frozen import file_hash
from study.records.ledger import Ledger, Record

SESSION_ENDED = "session ended"
"""The ledger's event: complete, reason, unfinished, planned, files (name -> SHA-256)."""
_MOVES = ("ask", "result", "failed", "lost", "retried", "promoted", CONFIRM)
_RESUMES = ("resumed", "extended")
_ENDS = ("finished", "pruned", "failed", "stopped")
_WAY_OUT = "`python run_study.py --resume` writes it anew from the ledger."


def note_end(
    ledger: Ledger, run: RunFolder, *, complete: bool, reason: str, unfinished: int, planned: int
) -> None:
    """Tell the ledger that a session has ended, and what its files are now.

    Args:
        ledger: of the run.
        run: its folder.
        complete: whether the search has nothing left to do.
        reason: why it stopped before its end; empty where it did not.
        unfinished: trials that wait to go on.
        planned: trials of the whole search, those that confirm left out.
    """
    files = {path.name: file_hash(path) for path in _sealed(run) if path.exists()}
    told = {"complete": complete, "reason": reason, "unfinished": unfinished, "planned": planned}
    ledger.append(SESSION_ENDED, **told, files=files)


def _sealed(run: RunFolder) -> tuple[Path, ...]:
    return run.spec, run.manifest, run.trials, run.epochs, run.states


@dataclass(frozen=True)
class Reached:
    """How far a search has come, by its ledger.

    Attributes:
        unfinished: trials that were begun and have not ended, by number.
        asked: trials of the search that were begun.
        planned: trials that it is to have; None where the ledger does not say.
        complete: whether nothing is left to do; None where the ledger does not say.
        reason: why the last session stopped before the end; empty where it did not.
        sealed: file name -> hash, of the last session; None in older ledgers, and where trials
            moved on since.
    """

    unfinished: tuple[int, ...]
    asked: int
    planned: int | None
    complete: bool | None
    reason: str
    sealed: dict[str, str] | None

    @property
    def missing(self) -> str:
        """What is left of the search, as words; empty where it is over, or cannot be told."""
        if self.complete:
            return ""
        told = []
        if self.unfinished:
            names = ", ".join(trial_id(number) for number in self.unfinished[:5])
            more = ", ..." if len(self.unfinished) > 5 else ""
            have = (
                "1 trial has"
                if len(self.unfinished) == 1
                else f"{len(self.unfinished)} trials have"
            )
            told.append(f"{have} not ended ({names}{more})")
        if self.planned is not None and self.planned > self.asked:
            told.append(f"{self.planned - self.asked} of {self.planned} were not begun")
        if not told and self.complete is False:
            told.append("its last session stopped before the end")
        return " and ".join(told)


def reached(records: Sequence[Record]) -> Reached:
    """Read from a ledger how far the search has come."""
    stands: dict[int, str] = {}
    searched = 0
    end: Record | None = None
    for record in records:
        event = record["event"]
        if event == "ask":
            searched += record.get("confirms") is None
            stands[record["number"]] = "stopped" if record.get("stopped") else "running"
        elif event == "result":
            stands[record["number"]] = record["decision"]
        elif event == "failed":
            stands[record["number"]] = "failed"
        elif event == "promoted":
            stands[record["number"]] = "running"
        if event == SESSION_ENDED:
            end = record
        elif event in _MOVES:
            end = None
        elif event in _RESUMES and end is not None:  # the manifest is about to be told of it
            end = end | {"files": {}}
            if event == "extended":
                end |= {"complete": False, "planned": record["num_trials"]}
    return Reached(
        unfinished=tuple(number for number, one in stands.items() if one not in _ENDS),
        asked=searched,
        planned=None if end is None else int(end["planned"]),
        complete=None if end is None else bool(end["complete"]),
        reason=str(end["reason"]) if end else "",
        sealed=None if end is None else dict(end["files"]),
    )


def score_seals(records: Sequence[Record], number: int, *, kept: bool = False) -> dict[int, str]:
    """Epoch -> the hash of its per-image scores, of one trial; without those of older ledgers.

    ``kept``: on the part of validation that is kept for confirmation.
    """
    key = "kept_scores" if kept else "scores"
    return {
        record["epoch"]: record[key]
        for record in records
        if record["event"] == "result" and record["number"] == number and key in record
    }


def changed_files(run: RunFolder, found: Reached) -> list[Fault]:
    """Sealed files that are not what the ledger says; none where none is sealed."""
    told = []
    for path in _sealed(run):
        sealed = (found.sealed or {}).get(path.name)
        if sealed is None or file_hash(path) == sealed:
            continue
        rule = "is not what the ledger holds the hash of" if path.exists() else "is missing"
        table = path in (run.trials, run.epochs, run.states)
        told.append(Fault(str(path), "", rule, _WAY_OUT if table else "Restore it from a copy."))
    return told
