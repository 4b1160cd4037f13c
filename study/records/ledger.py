"""The ledger of a run: every event that matters, one checked line each, never rewritten.

A line is one JSON object whose last keys are its number, the hash of the line before and the
CRC-32 of the text before that. It is written with a single ``os.write`` to an append-only
descriptor and synced, so that after a crash at most the last line is torn; a line that was lost,
doubled, moved or edited breaks the chain. Older ledgers have no chain: the first line appended to
one holds the hash of all bytes before it. The ledger is the only truth about a study's decisions:
the tables, study.db and TensorBoard are projections of it.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, overload

from study.errors import BadInput, Fault
from study.locks import take_lock
from study.records.disk import is_disk_full

Record = dict[str, Any]
RESULT = "result"  # the event of an epoch
_OF_EPOCH = f'{{"event":"{RESULT}",'.encode()
_LINE, _BEFORE = "line", "before"
_LINKS, _HASH = f',"{_LINE}":'.encode(), f',"{_BEFORE}":"'.encode()
_HASH_LENGTH = hashlib.sha256().digest_size * 2 + 1  # with the quote behind it
_CRC = ',"crc32":"'
_DAMAGED = "the line does not match its checksum, so the ledger was damaged or edited"
_REWRITTEN: dict[str, Callable[[bytes], bool]] = {
    "the line ends as on Windows": lambda line: line.endswith(b"\r"),
    "the file begins with a byte order mark": lambda line: line.startswith(codecs.BOM_UTF8),
}
"""What editors, and git with core.autocrlf, do to a file of lines."""
_CRC_LENGTH = len(_CRC) + 8 + len('"}')


def encode(record: Mapping[str, Any]) -> bytes:
    """One ledger line, newline included. NaN and infinities are refused (ValueError)."""
    body = json.dumps(record, allow_nan=False, separators=(",", ":"))[:-1]
    return f'{body}{_CRC}{zlib.crc32(body.encode()):08x}"}}\n'.encode()


def decode(line: bytes) -> Record | None:
    """What `encode` was given, of one line without its newline; None where it is damaged."""
    if not _is_whole(line):
        return None
    record: Record = json.loads(line[:-_CRC_LENGTH] + b"}")
    return record


def _is_whole(line: bytes) -> bool:
    return line[-_CRC_LENGTH:] == f'{_CRC}{zlib.crc32(line[:-_CRC_LENGTH]):08x}"}}'.encode()


class Lines(Sequence[Record]):
    """The records of a ledger in order; those of epochs are read from their text when asked for.

    Nearly all lines of a large study are epochs, and nearly all of an epoch's line are metrics,
    which the tables hold as well.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        """Begin with some records."""
        self._kept: list[Record | bytes] = list(records)
        self._heads: list[Record] = []

    def add(self, one: Record | bytes) -> None:
        """Take in a record, or the line of an epoch without its newline."""
        self._kept.append(one)
        self._heads = []

    def of(self, *events: str) -> list[Record]:
        """The records of the named events."""
        if RESULT in events:
            return [record for record in self if record["event"] in events]
        return [one for one in self._kept if isinstance(one, dict) and one["event"] in events]

    def heads(self) -> Sequence[Record]:
        """All records, those of epochs without their metrics and states where that saves time."""
        if not self._heads:
            self._heads = [_head(one) if isinstance(one, bytes) else one for one in self._kept]
        return self._heads

    def __len__(self) -> int:
        """Number of records."""
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        """A record, or some of them."""
        if isinstance(index, slice):
            return [_record(one) for one in self._kept[index]]
        return _record(self._kept[index])

    def __eq__(self, other: object) -> bool:
        """Whether all records are the same."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def _record(kept: Record | bytes) -> Record:
    if isinstance(kept, dict):
        return kept
    record: Record = json.loads(kept[:-_CRC_LENGTH] + b"}")
    for link in (_LINE, _BEFORE):
        record.pop(link, None)
    return record


def _head(line: bytes) -> Record:
    """The record of an epoch without its metrics and states."""
    head = line[:-_CRC_LENGTH] + b"}"
    for begin, end in ((b',"metrics":{', b"}"), (b',"states":[', b"}]")):
        if (start := head.find(begin)) >= 0:
            head = head[:start] + head[head.find(end, start) + len(end) :]
    try:
        record: Record = json.loads(head)
    except ValueError:  # a name with a bracket in it
        return _record(line)
    return record


def _event(line: bytes) -> Record | None:
    """The record of a whole line; None where somebody's own tool wrote another thing there."""
    try:
        record = _record(line)
    except ValueError:
        return None
    is_event = isinstance(record, dict) and isinstance(record.get("event"), str)
    return record if is_event else None


class _Chain:
    """The lines of a ledger one after another, each sealed by what comes before it."""

    def __init__(self) -> None:
        self._count = 0
        self._everything = hashlib.sha256()  # while nothing is chained
        self._last = ""

    @property
    def links(self) -> Record:
        """What the next line holds beside its record."""
        return {_LINE: self._count + 1, _BEFORE: self._last or self._everything.hexdigest()}

    def add(self, line: bytes, found: Mapping[str, Any]) -> str:
        """Take a line with its links; gives what is wrong with it, or nothing."""
        expected = self.links
        self._count += 1
        if found[_BEFORE] is None and not self._last:
            self._everything.update(line)
            return ""
        self._last = hashlib.sha256(line).hexdigest()
        if found[_LINE] != expected[_LINE]:
            told = "has no number" if found[_LINE] is None else f"was written as {found[_LINE]}"
            return f"the line {told}, so lines were lost, doubled, moved or put in"
        if found[_BEFORE] != expected[_BEFORE]:
            return "the line does not follow the one before it, so one of them was edited"
        return ""


def _links(line: bytes) -> dict[str, Any]:
    """The links of a whole line without its newline; None each where it has none."""
    start = line.rfind(_LINKS)
    number, _, before = line[start + len(_LINKS) : -_CRC_LENGTH].partition(_HASH)
    if start < 0 or not number.isdigit() or len(before) != _HASH_LENGTH:  # of an older ledger
        return {_LINE: None, _BEFORE: None}
    return {_LINE: int(number), _BEFORE: before[:-1].decode()}


def read_ledger(path: Path) -> tuple[Lines, int]:
    """All records of a ledger and the number of good bytes.

    A torn last line (a crash in the middle of a write) is left out: the number of good bytes is
    then below the file's size. Damage anywhere else is refused.

    Raises:
        BadInput: naming file and line, where a line before the last is damaged or the chain is
            broken; or naming the file, where it cannot be read.
    """
    records, good, _ = _read(path)
    return records, good


def _read(path: Path) -> tuple[Lines, int, _Chain]:
    chain, records = _Chain(), Lines()
    try:
        lines = path.read_bytes().split(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return records, 0, chain
    except OSError as error:
        raise BadInput(_unusable(path, "read", error)) from error
    good = 0
    for number, line in enumerate(lines[:-1], start=1):
        if not _is_whole(line):
            if number == len(lines) - 1 and not lines[-1]:
                break
            seen = [f"; {what}" for what, is_so in _REWRITTEN.items() if is_so(line)]
            raise BadInput(_damage(path, number, "".join([_DAMAGED, *seen])))
        if broken := chain.add(line + b"\n", _links(line)):
            raise BadInput(_damage(path, number, broken))
        record = line if line.startswith(_OF_EPOCH) else _event(line)
        if record is None:
            raise BadInput(_damage(path, number, "the line is no event of a study"))
        records.add(record)
        good += len(line) + 1
    return records, good, chain


def _damage(path: Path, line: int, rule: str) -> Fault:
    return Fault(
        place=str(path),
        line=line,
        key="",
        rule=rule,
        way_out="Restore the file from a copy; as it is no study can be read or resumed from it.",
    )


def _unusable(path: Path, how: str, error: OSError) -> Fault:
    way_out = "Choose another folder, or mend this one: who owns it, and whether it is read-only."
    return Fault(str(path), "", f"cannot be {how} ({error.strerror or error})", way_out)


class Ledger:
    """An open ledger, held by one process at a time.

    Attributes:
        records: what the file held when it was opened and every record appended since.
        torn_bytes: length of the torn last line that was cut off at opening, 0 if none.
    """

    def __init__(self, path: Path, *, wait: bool = False) -> None:
        """Open (or create) the ledger at ``path`` and take its lock.

        Args:
            path: of the file.
            wait: for a lock that another process holds; else that is refused.

        Raises:
            BadInput: if another process holds it, a line before the last is damaged, or the file
                cannot be opened for writing.
            OSError: where the disk is full.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            if is_disk_full(error):
                raise
            raise BadInput(_unusable(path, "opened for writing", error)) from error
        try:
            self._lock(wait)
            self.records, good, self._chain = _read(path)
            self.torn_bytes = os.fstat(self._fd).st_size - good
            if self.torn_bytes:
                os.ftruncate(self._fd, good)
                os.fsync(self._fd)
        except BaseException:
            os.close(self._fd)
            raise

    def _lock(self, wait: bool) -> None:
        try:
            take_lock(self._fd, wait=wait)
        except BlockingIOError:
            rule = "another process is working on this run"
            way_out = "Wait for it to end, or choose another --out."
            raise BadInput(Fault(str(self.path), "", rule, way_out)) from None
        except OSError as error:
            raise BadInput(_unusable(self.path, "locked", error)) from error

    def append(self, event: str, **fields: Any) -> Record:
        """Write one event with the time, and return it once it is on disk.

        Raises:
            ValueError: if a field holds NaN or an infinity, which JSON does not have.
            BadInput: where the file was removed or replaced since it was opened.
            OSError: where it cannot be written whole; the file is then as it was.
        """
        record: Record = {"event": event, "time": datetime.now(UTC).isoformat(), **fields}
        before, after = self._chain, copy(self._chain)
        links = before.links
        line = encode(record | links)
        status = os.fstat(self._fd)
        if not status.st_nlink:
            # Only this process would ever read the line, and a new study may be in its place.
            rule = "was removed or replaced while the study ran, so nothing can be recorded in it"
            way_out = "Restore the folder from a copy and resume, or start anew."
            raise BadInput(Fault(str(self.path), "", rule, way_out))
        end = status.st_size
        try:
            # A full disk shows as a short count first: the part must go, or it would be damage
            # in the middle once another line follows.
            if os.write(self._fd, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(self._fd)
            after.add(line, links)
            self._chain = after
            self.records.add(record)
        except BaseException:  # a second Ctrl-C's too: the next line follows what is on disk
            self._chain = before
            os.ftruncate(self._fd, end)
            raise
        return record

    def events(self, *names: str) -> list[Record]:
        """All records of the named events, in order."""
        return self.records.of(*names)

    def close(self) -> None:
        """Give the lock back."""
        os.close(self._fd)

    def __enter__(self) -> Ledger:
        """The ledger itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()


def is_held(path: Path) -> bool:
    """Whether a process works on the run of this ledger."""
    try:
        with path.open("rb") as file:
            take_lock(file.fileno(), wait=False, shared=True)
    except BlockingIOError:
        return True
    except OSError:  # whoever opens it for more is told
        return False
    return False


class RecordedLedger(Ledger):
    """A ledger that is only read: no lock, no torn line cut off, nothing appended."""

    def __init__(self, path: Path) -> None:
        """Read the ledger at ``path``.

        Raises:
            BadInput: if a line before the last is damaged.
        """
        self.path = path
        self.records, good = read_ledger(path)
        self.torn_bytes = path.stat().st_size - good if path.exists() else 0

    def append(self, event: str, **fields: Any) -> Record:
        """Refused."""
        raise AssertionError(f"{self.path} was opened to be read, not for {event!r}: {fields}")

    def close(self) -> None:
        """Nothing is held."""
