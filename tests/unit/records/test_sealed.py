"""study.records.sealed: how far a search has come, and whether its files are what they were."""

from pathlib import Path
from typing import Any

import pytest

from study.records.files import RunFolder
from study.records.ledger import Ledger
from study.records.sealed import (
    changed_files,
    note_end,
    note_files,
    reached,
    score_seals,
    unlike_the_ledger,
)


def ask(number: int, **more: Any) -> dict[str, Any]:
    return {"event": "ask", "number": number, **more}


def result(number: int, decision: str) -> dict[str, Any]:
    return {"event": "result", "number": number, "decision": decision}


def end(complete: bool, planned: int, reason: str = "") -> dict[str, Any]:
    told = {"complete": complete, "reason": reason, "unfinished": 0, "planned": planned}
    return {"event": "session ended", **told, "files": {"trials.parquet": "abc"}}


@pytest.mark.parametrize(
    ("records", "missing"),
    [
        ([ask(0), result(0, "finished"), end(True, 1)], ""),
        ([ask(0), result(0, "pruned"), ask(1, stopped="arm"), end(True, 2)], ""),
        ([ask(0), {"event": "failed", "number": 0}, end(True, 1)], ""),
        ([ask(0), result(0, "continue")], "1 trial has not ended (00000)"),
        ([ask(0), result(0, "finished"), end(False, 3, "interrupt")], "2 of 3 were not begun"),
        (
            [ask(0), ask(1), result(0, "pruned"), {"event": "promoted", "number": 0}],
            "2 trials have not ended (00000, 00001)",
        ),
        ([ask(0), result(0, "finished"), end(True, 1), ask(1)], "1 trial has not ended (00001)"),
        ([ask(0), result(0, "finished")], ""),
        (
            [ask(0), result(0, "finished"), end(False, 1)],
            "its last session stopped before the end",
        ),
    ],
)
def test_what_is_missing_of_a_search_is_told_by_its_ledger(
    records: list[dict[str, Any]], missing: str
) -> None:
    assert reached(records).missing == missing


def test_trials_that_confirm_are_not_among_those_planned() -> None:
    records = [ask(0), result(0, "finished"), ask(1, confirms=0), result(1, "finished")]
    assert reached([*records, end(True, 1)]).asked == 1


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path)
    run.scores.mkdir()
    base = run.trial_scores("base")
    for path in (run.spec, run.manifest, run.trials, run.epochs, base):
        path.write_text(path.name)
    with Ledger(run.ledger) as ledger:
        note_end(ledger, run, complete=True, reason="", unfinished=0, planned=3)
    return run


def told_of(run: RunFolder) -> list[str]:
    with Ledger(run.ledger) as ledger:
        return [str(fault) for fault in changed_files(run, reached(ledger.records))]


def test_files_as_they_were_are_not_told(run: RunFolder) -> None:
    assert told_of(run) == []


@pytest.mark.parametrize("name", ["spec", "manifest", "trials", "epochs"])
@pytest.mark.parametrize("gone", [True, False])
def test_file_that_was_changed_or_removed_is_told_with_the_way_out(
    run: RunFolder, name: str, gone: bool
) -> None:
    path: Path = getattr(run, name)
    if gone:
        path.unlink()
    else:
        path.write_text("edited")
    (told,) = told_of(run)
    what = "is missing" if gone else "is not what the ledger holds the hash of"
    assert told.startswith(f"{path}: {what}. ")
    assert ("--resume" in told) == (name in ("trials", "epochs"))


def test_session_that_has_only_begun_may_tell_the_manifest_of_itself(run: RunFolder) -> None:
    with Ledger(run.ledger) as ledger:
        ledger.append("resumed", command="run_study.py --resume run")
    run.manifest.write_text("with the session that was cut off")
    assert told_of(run) == []


def test_study_that_was_extended_and_cut_off_is_not_over() -> None:
    records = [ask(0), result(0, "finished"), end(True, 1)]
    assert reached([*records, {"event": "resumed"}]).missing == ""
    extended = {"event": "extended", "num_trials": 4}
    assert reached([*records, extended]).missing == "3 of 4 were not begun"


def test_tables_of_a_search_that_moved_on_are_not_held_to_their_old_hash(run: RunFolder) -> None:
    with Ledger(run.ledger) as ledger:
        ledger.append("ask", number=0)
    run.trials.write_text("a later one")
    assert told_of(run) == []


def test_hashes_of_scores_are_those_of_one_trial() -> None:
    records = [
        result(0, "continue") | {"epoch": 1, "scores": "a"},
        result(1, "continue") | {"epoch": 1, "scores": "b"},
        result(0, "finished") | {"epoch": 2},
    ]
    assert score_seals(records)[0] == {1: "a"}
    assert score_seals([*records, records[0] | {"kept_scores": "k"}], kept=True) == {0: {1: "k"}}


def test_scores_of_the_base_are_sealed_while_the_search_goes_on(run: RunFolder) -> None:
    with Ledger(run.ledger) as ledger:
        ledger.append("ask", number=0)
    run.trial_scores("base").write_text("another's")
    (told,) = told_of(run)
    assert told.startswith(f"{run.trial_scores('base')}: is not what the ledger holds the hash of")


def test_spec_and_manifest_of_a_resume_are_sealed_once_it_has_written_them(run: RunFolder) -> None:
    with Ledger(run.ledger) as ledger:
        ledger.append("extended", num_trials=4)
        run.spec.write_text("longer")
        run.manifest.write_text("told of it")
        assert changed_files(run, reached(ledger.records)) == []
        note_files(ledger, run)
    assert told_of(run) == []
    run.spec.write_text("edited")
    assert len(told_of(run)) == 1


def test_spec_stays_sealed_while_a_study_is_resumed(run: RunFolder) -> None:
    with Ledger(run.ledger) as ledger:
        ledger.append("resumed")
    run.spec.write_text("edited")
    assert len(told_of(run)) == 1


def test_session_that_ended_without_a_word_is_told() -> None:
    started = {"event": "started", "rules": {}}
    records = [started, ask(0), result(0, "finished")]
    assert reached(records).missing == "its last session was cut off before its end"
    assert reached([*records, end(True, 1)]).missing == ""


LEDGER = [
    {"event": "started", "rules": {}},
    ask(0, params={"train.lr": 0.5, "arm": "a"}),
    result(0, "finished") | {"epoch": 1, "metrics": {"val/fpr95": 0.25, "train/loss": 1.0}},
    ask(1, params={}),
    result(1, "pruned") | {"epoch": 1, "metrics": {"val/fpr95": 0.5}},
]
ROW = {"trial_id": "00000", "status": "finished", "checkpoint_epoch": 1, "val/fpr95": 0.25}
PRUNED = ROW | {"trial_id": "00001", "status": "pruned", "val/fpr95": 0.5}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (ROW | {"param/train.lr": 0.5, "param/arm": "a", "train/loss": 2.0}, ""),
        (PRUNED, ""),
        (PRUNED | {"checkpoint_epoch": None, "status": "running", "val/fpr95": 0.0}, ""),
        (ROW | {"val/fpr95": 0.001}, "has val/fpr95 0.001 here and 0.25 on the ledger"),
        (ROW | {"param/train.lr": 0.1}, "has param/train.lr 0.1 here and 0.5 on the ledger"),
        (PRUNED | {"status": "finished"}, "is finished here and pruned on the ledger"),
        (ROW | {"trial_id": "00007"}, "is not on the ledger"),
    ],
)
def test_row_of_a_table_is_told_where_the_ledger_has_it_otherwise(
    row: dict[str, Any], told: str
) -> None:
    faults = list(unlike_the_ledger(RunFolder(Path("run")), [row], LEDGER))
    assert [fault.rule for fault in faults] == [told] * bool(told)
