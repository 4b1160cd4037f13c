"""How far a search has come, and what its files were then: told by the ledger, asked by all.

When the spec and the manifest are written, and when a session of a search ends, the ledger gets a
line with their hashes; at the end with those of every table and of what trials are compared with
as well. Whoever chooses, freezes or tests asks here whether they are still that, and whether the
search is over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study.counted import counted
from study.errors import Fault
from study.records.files import CONFIRM, KEPT, TEST_OPENED, TEST_SCORED, RunFolder, trial_id
from study.records.frozen import file_hash
from study.records.ledger import RESULT, Ledger, Lines, Record

SESSION_ENDED = "session ended"
"""The ledger's event: complete, reason, unfinished, planned, files (name -> SHA-256)."""
FILES_WRITTEN = "files written"
"""The ledger's event: files (name -> SHA-256), the spec and the manifest as a session has them."""
_MOVES = ("ask", "result", "failed", "lost", "retried", "promoted", CONFIRM)
_RESUMES = ("resumed", "extended")
_ENDS = ("finished", "pruned", "failed", "stopped")
_CHANGED = "is not what the ledger holds the hash of"
_TEST_AGAIN = "`python -m analysis test` makes it anew from the test's scores."
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
    told = {"complete": complete, "reason": reason, "unfinished": unfinished, "planned": planned}
    sealed = (run.spec, run.manifest, *_tables(run), *sorted(run.scores.glob("*.npz")))
    ledger.append(SESSION_ENDED, **told, files=_hashes(run, sealed))


def note_files(ledger: Ledger, run: RunFolder) -> None:
    """Tell the ledger what spec and manifest are, now that a session has written them."""
    ledger.append(FILES_WRITTEN, files=_hashes(run, (run.spec, run.manifest)))


def note_test(ledger: Ledger, run: RunFolder) -> None:
    """Tell the ledger what the final test left: its scores, and what they are worth by now."""
    left = (*sorted(run.final_test.glob("*.npz")), run.test_results)
    ledger.append(TEST_SCORED, files=_hashes(run, left))


def _tables(run: RunFolder) -> tuple[Path, ...]:
    return run.trials, run.epochs, run.states


_TABLES = frozenset(map(str, _tables(RunFolder(Path()))))


def _hashes(run: RunFolder, paths: Sequence[Path]) -> dict[str, str | None]:
    there = (path for path in paths if path.exists())
    return {str(path.relative_to(run.path)): file_hash(path) for path in there}


@dataclass(frozen=True)
class Reached:
    """How far a search has come, by its ledger.

    Attributes:
        unfinished: trials that were begun and have not ended, by number.
        asked: trials of the search that were begun.
        planned: trials that it is to have; None where the ledger does not say.
        complete: whether nothing is left to do; None where the ledger does not say.
        reason: why the last session stopped before the end; empty where it did not.
        cut_off: whether the last session ended without a word, or still runs.
        known: numbers of the trials that it tells of.
        sealed: file, by its path in the run's folder -> hash; without those that changed since as
            they had to.
    """

    unfinished: tuple[int, ...]
    asked: int
    planned: int | None
    complete: bool | None
    reason: str
    cut_off: bool = False
    known: frozenset[int] = frozenset()
    sealed: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> str:
        """What is left of the search, as words; empty where it is over, or cannot be told."""
        if self.complete:
            return ""
        told = []
        if self.unfinished:
            names = ", ".join(trial_id(number) for number in self.unfinished[:5])
            more = ", ..." if len(self.unfinished) > 5 else ""
            have = counted(len(self.unfinished), "trial has", "trials have")
            told.append(f"{have} not ended ({names}{more})")
        if self.planned is not None and self.planned > self.asked:
            told.append(f"{self.planned - self.asked} of {self.planned} were not begun")
        if not told and self.cut_off:
            told.append("its last session was cut off before its end")
        if not told and self.complete is False:
            told.append("its last session stopped before the end")
        return " and ".join(told)


def reached(records: Sequence[Record]) -> Reached:
    """Read from a ledger how far the search has come."""
    stands: dict[int, str] = {}
    searched = 0
    end: Record | None = None
    sealed: dict[str, str] = {}
    told_ends = False
    for record in records.heads() if isinstance(records, Lines) else records:
        told_ends = told_ends or _tells_ends(record)
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
        elif event == "extended" and end is not None:
            end = end | {"complete": False, "planned": record["num_trials"]}
        sealed = _still_sealed(sealed, event) | record.get("files", {})
    return Reached(
        unfinished=tuple(number for number, one in stands.items() if one not in _ENDS),
        asked=searched,
        planned=None if end is None else int(end["planned"]),
        complete=None if end is None else bool(end["complete"]),
        reason=str(end["reason"]) if end else "",
        cut_off=end is None and told_ends,
        known=frozenset(stands),
        sealed=sealed,
    )


def _still_sealed(sealed: dict[str, str], event: str) -> dict[str, str]:
    """Without the files that a session writes anew after such an event."""
    if event in _MOVES and _TABLES.isdisjoint(sealed):  # nearly all of the events
        return sealed
    run = RunFolder(Path())
    written: tuple[Path, ...] = ()
    if event in _MOVES or event in _RESUMES:  # tables go with the search
        written = _tables(run)
    if event in _RESUMES:  # the manifest is about to be told of it
        written += (run.manifest,)
    if event == "extended":
        written += (run.spec,)
    kept = {name: one for name, one in sealed.items() if Path(name) not in written}
    if event == TEST_OPENED:  # what an earlier opening left is written over
        test = run.final_test.name
        kept = {name: one for name, one in kept.items() if Path(name).parts[0] != test}
    return kept


def _tells_ends(record: Record) -> bool:
    """Whether a ledger is of a version that tells when a session ends."""
    return record["event"] == FILES_WRITTEN or "rules" in record


def score_seals(records: Sequence[Record], *, kept: bool = False) -> dict[int, dict[int, str]]:
    """Number of a trial -> epoch -> the hash of its per-image scores, where a ledger tells it.

    ``kept``: on the part of validation that is kept for confirmation.
    """
    key = "kept_scores" if kept else "scores"
    seals: dict[int, dict[int, str]] = {}
    for record in records.heads() if isinstance(records, Lines) else records:
        if record["event"] == RESULT and record.get(key):
            seals.setdefault(record["number"], {})[record["epoch"]] = record[key]
    return seals


def changed_files(run: RunFolder, found: Reached, *, but: Path | None = None) -> list[Fault]:
    """Sealed files that are not what the ledger says; none where none is sealed.

    Args:
        run: its folder.
        found: what is sealed.
        but: a file, or a folder of them, that is not asked about: it is about to be made anew.
    """
    told = []
    for name, sealed in found.sealed.items():
        path = run.path / name
        if but in (path, *path.parents) or file_hash(path) == sealed:
            continue
        rule = _CHANGED if path.exists() else "is missing"
        if _has_other_line_ends(path, sealed):
            rule += ": its lines end as on Windows by now"
        way_out = _WAY_OUT if path in _tables(run) else "Restore it from a copy."
        way_out = _TEST_AGAIN if path == run.test_results else way_out
        told.append(Fault(str(path), "", rule, way_out))
    return told


def _has_other_line_ends(path: Path, sealed: str) -> bool:
    """Whether an editor, or git with core.autocrlf, has made of a file what it is."""
    if not path.is_file():
        return False
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest() == sealed


def is_table(run: RunFolder, fault: Fault) -> bool:
    """Whether a fault is about a table, which the ledger can make anew."""
    return Path(fault.place) in _tables(run)


def unlike_the_ledger(
    run: RunFolder, rows: Sequence[Mapping[Any, Any]], records: Sequence[Record]
) -> Iterator[Fault]:
    """Rows of trials.parquet that the ledger tells otherwise: for where no hash of it is held.

    Args:
        run: its folder.
        rows: of the table; of those that have ended each metric of the checkpoint's epoch, and
            each searched parameter, is compared.
        records: of the ledger; where it holds no trial at all, as no real one does, none is
            compared.
    """
    results: dict[tuple[int, int], Record] = {}
    asked: dict[int, Record] = {}
    last: dict[int, str] = {}
    for record in records:
        if record["event"] == "ask":
            asked[record["number"]] = record
        elif record["event"] == "result":
            results[record["number"], record["epoch"]] = record
            last[record["number"]] = record["decision"]
    if not results and not any(map(_tells_ends, records)):
        return
    for row in rows:
        number, status = int(row["trial_id"]), str(row["status"])
        if status not in ("finished", "pruned"):
            continue
        told = ""
        if number not in asked:
            told = "is not on the ledger"
        elif status == "finished" and last.get(number) != "finished":
            told = f"is {status} here and {last.get(number, 'without a result')} on the ledger"
        else:
            there = {f"param/{key}": value for key, value in asked[number]["params"].items()}
            epoch: Any = row.get("checkpoint_epoch")
            result = results.get((number, int(epoch))) if _is_number(epoch) else None
            there |= {} if result is None else _compared(result["metrics"])
            for key, value in there.items():
                if key in row and not _same(row[key], value):
                    told = f"has {key} {row[key]} here and {value} on the ledger"
                    break
        if told:
            yield Fault(str(run.trials), f"trial {row['trial_id']}", told, _WAY_OUT)


def _compared(metrics: Mapping[str, float]) -> dict[str, float]:
    return {key: one for key, one in metrics.items() if key.startswith(("val/", f"{KEPT}/"))}


def _is_number(value: Any) -> bool:
    return value is not None and value == value and str(value) != "<NA>"


def _same(one: Any, two: Any) -> bool:
    """Whether a table's value is the ledger's; a column of mixed types holds texts."""
    return bool(one == two) or str(one) == str(two)
