"""study.records.sessions: a later session is on record, what differs is told."""

import json
from pathlib import Path

import pytest

from study.errors import BadInput
from study.records import sessions
from study.records.files import RunFolder, write_json
from study.records.manifest import made_now
from study.records.sessions import changed_machine, note_session


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    write_json(folder.manifest, made_now("first", sessions.code_diff()))
    return folder


def _edit(run: RunFolder, **changes: object) -> None:
    write_json(run.manifest, json.loads(run.manifest.read_text()) | changes)


def test_note_session_in_the_same_place_tells_nothing_and_is_on_record(run: RunFolder) -> None:
    assert note_session(run, "second") == []
    assert note_session(run, "third") == []
    told = json.loads(run.manifest.read_text())
    assert told["command"] == "first"
    assert [one["command"] for one in told["resumed"]] == ["second", "third"]
    assert told["resumed"][0]["versions"]["torch"]


def test_note_session_with_another_version_and_commit_tells_both(run: RunFolder) -> None:
    told = json.loads(run.manifest.read_text())
    _edit(
        run, versions=told["versions"] | {"torch": "1.0"}, git=told["git"] | {"commit": "a" * 40}
    )
    first, second = note_session(run, "second")
    assert first.startswith("version of torch: 1.0 -> ")
    assert second.startswith("code, commit: aaaaaaaa -> ")


def test_note_session_with_other_code_keeps_its_diff(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "code_diff", lambda: "+ another line\n")
    (told,) = note_session(run, "second")
    assert told.startswith("code, diff_sha256: ")
    (kept,) = run.path.glob("*.code.diff")
    assert kept.read_text() == "+ another line\n"


def test_note_session_of_a_manifest_without_a_beginning_is_refused(run: RunFolder) -> None:
    write_json(run.manifest, {"versions": {}})
    with pytest.raises(BadInput, match="does not tell how the study began: 'hardware'"):
        note_session(run, "second")


def test_changed_machine_names_hardware_then_and_now(run: RunFolder) -> None:
    told = json.loads(run.manifest.read_text())
    told["hardware"]["num_cpus"] = 999
    (line,) = changed_machine(told)
    assert line.startswith("hardware, num_cpus: 999 -> ")
