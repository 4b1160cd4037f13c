from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import analysis
from analysis.__main__ import main
from analysis.choice.frozen import (
    correct_choice,
    corrected_how,
    corrected_text,
    notes_of,
    wins_text,
)
from study.errors import BadInput
from study.records.files import TEST_OPENED, TRIAL_JSON, WEIGHTS, RunFolder, write_json
from study.records.frozen import SELECTED, file_hash, read_frozen, seal
from study.records.ledger import Ledger, read_ledger
from tests.fake_run import Fake, freeze, make_run

pytestmark = pytest.mark.usefixtures("unrendered")

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


def _of_two_then_three(tmp_path: Path) -> tuple[Path, dict[str, object]]:
    """A run whose choice was frozen among two trials and that has a third one by now, worse."""
    make_run(tmp_path, Fake(statuses=("finished",) * 3, epochs=1, num_id=60))
    run = RunFolder(tmp_path)
    whole = pd.read_parquet(run.trials)
    worst = whole.sort_values("val/fpr95").index[-1]
    whole.drop(index=worst).to_parquet(run.trials, index=False)
    before = freeze(analysis.load(tmp_path))
    whole.to_parquet(run.trials, index=False)
    return tmp_path, before


def test_choice_that_was_frozen_before_there_were_paths_is_this_choice(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(statuses=("finished",) * 2, num_id=60))
    study = analysis.load(tmp_path)
    freeze(study)
    older = {k: v for k, v in read_frozen(tmp_path).items() if "alpha" not in k}
    write_json(run.selection, seal(older | {"now": "to be quick"}))
    assert "Frozen early on purpose: to be quick." in notes_of(study, study.select())


def test_same_winner_among_more_candidates_is_frozen_anew(tmp_path: Path) -> None:
    path, before = _of_two_then_three(tmp_path)
    after = freeze(analysis.load(path))
    assert before["winner"] == after["winner"]
    numbers = [one["corrected_of"]["num_candidates"] for one in (before, after)]
    assert numbers == [2, 3]
    assert after["after_test"] == ""
    assert freeze(analysis.load(path)) == after


def test_choice_is_frozen_anew_where_trials_were_only_stopped_since(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(statuses=("finished",) * 2 + ("pruned",), epochs=1, num_id=60))
    whole = pd.read_parquet(run.trials)
    whole[whole["status"] != "pruned"].to_parquet(run.trials, index=False)
    before = freeze(analysis.load(tmp_path))
    whole.to_parquet(run.trials, index=False)
    after = freeze(analysis.load(tmp_path))
    assert (before["num_trials"], after["num_trials"]) == (2, 3)
    assert freeze(analysis.load(tmp_path)) == after


def test_choice_frozen_anew_after_the_test_is_marked_everywhere(tmp_path: Path) -> None:
    path, _ = _of_two_then_three(tmp_path)
    with Ledger(path / "ledger.jsonl") as ledger:
        opened = ledger.append(TEST_OPENED, sets={}, reason="", selection="")
    after = freeze(analysis.load(path))
    assert after["after_test"] == opened["time"]
    assert len(after["candidates"]) == 3
    noted = [one for one in read_ledger(path / "ledger.jsonl")[0] if one["event"] == SELECTED]
    assert [one.get("after_test") for one in noted] == [None, opened["time"]]
    assert main(["report", str(path)]) == 0
    page = (path / "report.html").read_text()
    assert "Frozen after the test sets were opened" in page


def test_frozen_choice_holds_the_hashes_of_what_the_test_goes_by(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(statuses=("finished",), epochs=1, num_id=60))
    base = run.trial_checkpoints("base")
    for path in (run.trial_checkpoints("00000") / TRIAL_JSON, base / TRIAL_JSON, base / WEIGHTS):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path.relative_to(tmp_path)))
    names = ["00000/trial.json", "base/trial.json", "base/weights.safetensors"]
    told = freeze(analysis.load(tmp_path))["files"]
    assert told == {f"checkpoints/{n}": file_hash(run.checkpoints / n) for n in names}


def test_early_choice_of_a_search_that_is_over_by_now_is_frozen_anew(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(statuses=("finished",) * 2, epochs=1, num_id=60))
    with Ledger(run.ledger) as ledger:
        told = {"unfinished": 0, "planned": 5, "files": {}}
        ledger.append("session ended", complete=False, reason="interrupt", **told)
    assert main(["select", str(tmp_path), "--now", "a deadline"]) == 0
    with Ledger(run.ledger) as ledger:
        ledger.append("session ended", complete=True, reason="", **told)
    assert main(["select", str(tmp_path)]) == 0
    frozen = read_frozen(tmp_path)
    assert (frozen["now"], frozen["unfinished"]) == ("", "")


def test_forged_choice_with_a_seal_of_its_own_is_refused_and_written_anew_by_select(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, Fake(statuses=("finished",) * 2, epochs=1, num_id=60))
    content = freeze(analysis.load(tmp_path))
    write_json(run.selection, seal({**content, "corrected_value": 0.001}))
    assert main(["report", str(tmp_path)]) == 2
    told = f"{run.selection}: sha256: this is not the choice that the ledger tells of. `python -m"
    assert told in capsys.readouterr().err
    assert main(["select", str(tmp_path)]) == 0
    assert read_frozen(tmp_path) == content
