from __future__ import annotations

import json
from pathlib import Path

import pytest

import analysis
from analysis.choice.frozen import correct_choice, corrected_how, corrected_text, wins_text
from study.errors import BadInput
from study.records.frozen import SELECTED, read_frozen
from study.records.ledger import read_ledger
from tests.fake_run import Fake, freeze, make_run

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


def test_choice_without_scores_of_a_candidate_is_frozen_with_the_reason(tmp_path: Path) -> None:
    make_run(tmp_path).trial_scores("00001").unlink()
    content = freeze(analysis.load(tmp_path))
    assert content["corrected_value"] is None
    note = content["corrected_note"]
    assert note.startswith("not corrected for being the best of 6 candidates")
    assert "scores of 00001 are missing" in note
    assert corrected_text(content) == f"N{note[1:]}"
    assert corrected_how(content) == ""


def test_correction_of_a_study_is_of_its_own_choice(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(statuses=("finished",), num_id=60))
    study = analysis.load(tmp_path)
    assert correct_choice(study, 20).value == pytest.approx(study.select().value)


@pytest.mark.parametrize(
    ("num", "told"),
    [(1, "the best epoch of one candidate: "), (2, "the best of 2 candidates: ")],
)
def test_corrected_text_says_what_was_chosen_among(num: int, told: str) -> None:
    part = {
        "corrected_value": 0.3,
        "corrected_interval": [0.2, 0.4],
        "corrected_of": {"num_candidates": num},
        "corrected_note": "How.",
    }
    assert corrected_text(part).startswith(f"Corrected for being {told}")
    assert corrected_how(part) == "How."


@pytest.mark.parametrize(("num", "end"), [(5, "00004 20 %"), (7, "00004 20 %, 2 more")])
def test_wins_text_names_five_and_counts_the_rest(num: int, end: str) -> None:
    wins = {f"{number:05d}": 0.2 for number in range(num)}
    told = wins_text({"corrected_of": {"wins": wins}})
    assert told.startswith("Chosen in the resamples of the selection: 00000 20")
    assert told.replace("20.0", "20").endswith(end)
