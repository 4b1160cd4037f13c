"""study.records.ledger: appended whole or not at all, damage refused, one owner at a time."""

import errno
import fcntl
import json
import math
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from threading import Timer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.errors import BadInput
from study.records.ledger import Ledger, RecordedLedger, decode, encode, read_ledger

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False,
    allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
    max_size=3),
    max_leaves=8,
)  # fmt: skip


def fill(path: Path, count: int = 3) -> bytes:
    with Ledger(path) as ledger:
        for number in range(count):
            ledger.append("result", number=number, value=0.1 * number)
    return path.read_bytes()


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_decode_of_encode_is_identity(record: dict[str, object]) -> None:
    record["event"] = "x"
    assert decode(encode(record)[:-1]) == record


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_append_of_a_non_finite_number_is_refused_and_writes_nothing(
    tmp_path: Path, value: float
) -> None:
    path = tmp_path / "ledger.jsonl"
    before = fill(path)
    with Ledger(path) as ledger, pytest.raises(ValueError, match="JSON"):
        ledger.append("result", value=value)
    assert path.read_bytes() == before


def test_lines_are_plain_json_with_event_and_utc_time(tmp_path: Path) -> None:
    lines = fill(tmp_path / "ledger.jsonl").splitlines()
    first = json.loads(lines[0])
    assert first["event"] == "result"
    assert first["time"].endswith("+00:00")


def test_reopened_ledger_appends_after_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    before = fill(path)
    with Ledger(path) as ledger:
        assert [record["number"] for record in ledger.events("result")] == [0, 1, 2]
        ledger.append("selected", trial="00001")
        assert ledger.events("selected")[0]["trial"] == "00001"
        assert ledger.events("absent") == []
    assert path.read_bytes().startswith(before)


def test_torn_last_line_at_every_byte_is_cut_and_told(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    whole = fill(path)
    start = whole[:-1].rindex(b"\n") + 1
    for cut in range(start + 1, len(whole)):
        path.write_bytes(whole[:cut])
        records, good = read_ledger(path)
        assert (len(records), good) == (2, start)
        with Ledger(path) as ledger:
            assert ledger.torn_bytes == cut - start
        assert path.read_bytes() == whole[:start]


def test_damage_before_the_last_line_is_refused_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    lines = fill(path).split(b"\n")
    lines[1] = lines[1].replace(b"0.1", b"0.2")
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(BadInput, match=r"ledger\.jsonl:2: .*damaged or edited"):
        read_ledger(path)
    with pytest.raises(BadInput, match=r"ledger\.jsonl:2"):
        Ledger(path)


@pytest.mark.parametrize("content", [b"\x00\xff\n\x01\n", b"hello\nworld\n", b"\n\n"])
def test_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="damaged or edited"):
        read_ledger(path)


@pytest.mark.parametrize("body", ['{"a":1', '{"event":3', "[1", "{no json"])
def test_line_with_a_checksum_that_is_no_event_is_refused(tmp_path: Path, body: str) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(f'{body},"crc32":"{zlib.crc32(body.encode()):08x}"}}\n\n'.encode())
    with pytest.raises(BadInput, match=r"ledger\.jsonl:1: .*no event"):
        read_ledger(path)


def test_missing_ledger_reads_as_empty(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "none.jsonl") == ([], 0)


def test_second_owner_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger(path), pytest.raises(BadInput, match="another process"):
        Ledger(path)
    Ledger(path).close()


def test_lock_of_a_killed_owner_is_free(tmp_path: Path, project_root: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    code = (
        "import os, signal, sys; from pathlib import Path; "
        "from study.records.ledger import Ledger; "
        "Ledger(Path(sys.argv[1])).append('started'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=project_root, check=False)
    with Ledger(path) as ledger:
        assert [record["event"] for record in ledger.records] == ["started"]


def test_owner_that_waits_goes_on_once_the_first_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path)
    first.append("started")
    Timer(0.1, first.close).start()
    with Ledger(path, wait=True) as second:
        assert [record["event"] for record in second.records] == ["started"]


def test_ledger_that_cannot_be_opened_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(BadInput, match=r"file/ledger.jsonl: cannot be opened for writing \("):
        Ledger(file / "ledger.jsonl")
    with pytest.raises(BadInput, match=r"cannot be opened for writing \(Is a directory\)"):
        Ledger(tmp_path)
    with pytest.raises(BadInput, match=r"cannot be read \(Is a directory\)"):
        read_ledger(tmp_path)


def test_file_system_without_locks_is_not_taken_for_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(BadInput, match=r"cannot be locked \(No locks available\)"):
        Ledger(tmp_path / "ledger.jsonl")


def test_ledger_that_was_removed_or_replaced_takes_no_line(tmp_path: Path) -> None:
    path, other = tmp_path / "ledger.jsonl", tmp_path / "other"
    with Ledger(path) as ledger:
        ledger.append("started")
        other.write_bytes(path.read_bytes())
        other.replace(path)  # as an editor saves
        with pytest.raises(BadInput, match="removed or replaced while the study ran"):
            ledger.append("ask")
    assert [record["event"] for record in read_ledger(path)[0]] == ["started"]


@pytest.mark.parametrize("short", [True, False])
def test_line_that_finds_the_disk_full_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    path = tmp_path / "ledger.jsonl"
    before, write = fill(path), os.write

    def half(descriptor: int, line: bytes) -> int:
        done = write(descriptor, line[: len(line) // 2])
        if not short:
            raise OSError(28, "No space left on device")
        return done

    with Ledger(path) as ledger:
        with monkeypatch.context() as full:
            full.setattr(os, "write", half)
            with pytest.raises(OSError, match="No space left"):
                ledger.append("result", number=9)
        assert path.read_bytes() == before
        ledger.append("result", number=3)
    assert [record["number"] for record in read_ledger(path)[0]] == [0, 1, 2, 3]


def test_line_that_is_interrupted_in_its_sync_is_not_there_and_the_next_one_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.jsonl"
    before = fill(path)

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with Ledger(path) as ledger:
        with monkeypatch.context() as signalled:
            signalled.setattr(os, "fsync", interrupted)
            with pytest.raises(KeyboardInterrupt):
                ledger.append("result", number=9)
        assert path.read_bytes() == before
        ledger.append("result", number=3)
    assert [record["number"] for record in read_ledger(path)[0]] == [0, 1, 2, 3]


def test_recorded_ledger_reads_beside_its_owner_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    whole = fill(path)
    path.write_bytes(whole + b'{"event":"res')
    recorded = RecordedLedger(path)
    assert (len(recorded.records), recorded.torn_bytes) == (3, 13)
    assert path.read_bytes() == whole + b'{"event":"res'
    with pytest.raises(AssertionError, match="to be read"):
        recorded.append("result")


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[1:],
        lambda lines: lines[:2] + lines[3:],
        lambda lines: [*lines[:3], lines[2], *lines[3:]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines[:2], encode({"event": "result", "number": 9}), *lines[2:]],
    ],
    ids=["first lost", "one lost", "doubled", "swapped", "put in"],
)
def test_ledger_with_lines_lost_doubled_moved_or_put_in_is_refused(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    path = tmp_path / "ledger.jsonl"
    fill(path, 5)
    path.write_bytes(b"".join(change(lines_of(path))))
    with pytest.raises(BadInput, match=r"ledger\.jsonl:\d+: .*(lost, doubled|does not follow)"):
        read_ledger(path)


def test_line_edited_with_its_checksum_is_refused_at_the_next(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    fill(path, 3)
    lines = lines_of(path)
    edited = json.loads(lines[1])
    del edited["crc32"]
    lines[1] = encode(edited | {"value": 7})
    path.write_bytes(b"".join(lines))
    with pytest.raises(BadInput, match=r"ledger\.jsonl:3: .*does not follow"):
        read_ledger(path)


def test_older_ledger_is_sealed_by_the_first_line_appended(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    older = b"".join(encode({"event": "result", "number": number}) for number in range(3))
    path.write_bytes(older)
    with Ledger(path) as ledger:
        ledger.append("session")
        ledger.append("finished")
    assert path.read_bytes().startswith(older)
    assert len(read_ledger(path)[0]) == 5
    for lost in range(3):
        lines = lines_of(path)
        del lines[lost]
        path.write_bytes(b"".join(lines))
        with pytest.raises(BadInput, match=r"ledger\.jsonl:3: .*written as 4"):
            read_ledger(path)
        path.write_bytes(older + b"".join(lines[2:]))


def test_numbers_and_hashes_of_lines_are_no_part_of_a_record(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        written = ledger.append("result", number=0)
    assert read_ledger(path)[0] == [written] == RecordedLedger(path).records
    assert set(json.loads(path.read_bytes())) - set(written) == {"line", "before", "crc32"}


@pytest.mark.parametrize(
    ("rewritten", "told"),
    [
        (lambda content: content.replace(b"\n", b"\r\n"), "the line ends as on Windows"),
        (lambda content: b"\xef\xbb\xbf" + content, "the file begins with a byte order mark"),
    ],
)
def test_ledger_that_an_editor_rewrote_is_refused_with_what_it_did(
    tmp_path: Path, rewritten: Callable[[bytes], bytes], told: str
) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(rewritten(encode({"event": "a"}) + encode({"event": "b"})))
    with pytest.raises(BadInput, match=rf"ledger\.jsonl:1: .*edited; {told}"):
        read_ledger(path)
