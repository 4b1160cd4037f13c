from __future__ import annotations

import json
from pathlib import Path

import pytest

import analysis
from analysis.choice.frozen import corrected_text
from study.errors import BadInput
from study.records.frozen import SELECTED, read_frozen
from study.records.ledger import read_ledger
from tests.fake_run import freeze, make_run

CONTRACT = {
    "trial_id",
    "rule",
    "metric",
    "value",
    "interval",
    "corrected_value",
    "confirmation",
    "winner",
    "threshold",
    "candidates",
    "sha256",
}


def test_freeze_writes_the_contract_and_reads_back(tmp_path: Path) -> None:
    make_run(tmp_path)
    study = analysis.load(tmp_path)
    content = freeze(study)
    assert content.keys() >= CONTRACT
    assert content["winner"] == content["trial_id"]
    low, high = content["corrected_interval"]
    assert low < content["corrected_value"] < high
    assert content["corrected_of"]["num_candidates"] == 6
    assert "bootstrap resamples" in content["corrected_note"]
    assert ", 90 % interval " in corrected_text(content)
    assert len(content["candidates"]) == 6
    assert read_frozen(tmp_path) == content


def test_freeze_after_a_kill_between_file_and_ledger_notes_the_choice_once(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    study = analysis.load(tmp_path)
    content = freeze(study)
    kept = [line for line in run.ledger.read_bytes().splitlines() if b'"selected"' not in line]
    run.ledger.write_bytes(b"\n".join([*kept, b""]))
    assert freeze(study) == freeze(study) == content
    noted = [one for one in read_ledger(run.ledger)[0] if one["event"] == SELECTED]
    assert [one["sha256"] for one in noted] == [content["sha256"]]


def test_read_frozen_of_a_changed_file_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    study = analysis.load(tmp_path)
    content = freeze(study)
    run.selection.write_text(json.dumps({**content, "winner": "00001x"}))
    with pytest.raises(BadInput, match="does not match its hash"):
        read_frozen(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"winner": "00001"}', '"text"'])
def test_read_frozen_of_a_torn_or_foreign_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "selection.json").write_text(text)
    with pytest.raises(BadInput, match="not the choice that was frozen"):
        read_frozen(tmp_path)


def test_read_frozen_without_a_choice_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="python -m analysis select"):
        read_frozen(tmp_path)
