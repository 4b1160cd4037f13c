"""analysis.choice.whole: chosen from is what is over, and whose files are what they were."""

import json
from pathlib import Path

import pytest

import analysis
from analysis.__main__ import main
from analysis.choice.whole import refuse_early
from study.errors import BadInput
from study.records.files import RunFolder
from study.records.frozen import SELECTED, read_frozen
from study.records.ledger import Ledger, read_ledger
from study.records.scores import add_epoch
from study.records.sealed import note_end
from tests.fake_run import Fake, make_run

pytestmark = pytest.mark.usefixtures("unrendered")

FINISHED = Fake(statuses=("finished",) * 3, epochs=1, num_id=60)


def end(run: RunFolder, **changes: object) -> None:
    told = {"complete": True, "reason": "", "unfinished": 0, "planned": 3} | changes
    with Ledger(run.ledger) as ledger:
        note_end(ledger, run, **told)


@pytest.mark.parametrize("command", ["select", "report", "export"])
@pytest.mark.parametrize("name", ["trials", "epochs", "spec", "manifest"])
def test_file_edited_after_the_search_is_refused_by_name(
    tmp_path: Path, name: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, FINISHED)
    end(run)
    path: Path = getattr(run, name)
    other = make_run(tmp_path / "other", Fake(statuses=("finished",) * 3, epochs=1, seed=1))
    path.write_bytes(getattr(other, name).read_bytes() + b" ")
    if name in ("trials", "epochs"):
        path.write_bytes(getattr(other, name).read_bytes())
    assert main([command, str(tmp_path)]) == 2
    assert f"{path}: is not what the ledger holds the hash of" in capsys.readouterr().err
    assert not run.selection.exists()


def test_file_whose_line_ends_were_changed_is_refused_as_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, FINISHED)
    end(run)
    run.spec.write_bytes(run.spec.read_bytes().replace(b"\n", b"\r\n"))
    assert main(["select", str(tmp_path)]) == 2
    told = f"{run.spec}: is not what the ledger holds the hash of: its lines end as on Windows"
    assert told in capsys.readouterr().err


def test_search_that_is_not_over_freezes_nothing_but_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, FINISHED)
    end(run, complete=False, reason="interrupt", planned=9)
    assert main(["select", str(tmp_path)]) == 0
    assert "Not frozen: 9 of 9 were not begun." in capsys.readouterr().out
    assert not run.selection.exists()
    assert main(["select", str(tmp_path), "--now", "a deadline"]) == 0
    frozen = read_frozen(tmp_path)
    assert frozen["now"] == "a deadline"
    assert frozen["unfinished"] == "Chosen before the search was over: 9 of 9 were not begun."
    (told,) = [one for one in read_ledger(run.ledger)[0] if one["event"] == SELECTED]
    assert told["now"] == "a deadline"


def test_spent_time_budget_ends_a_search_and_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path, FINISHED)
    end(run, complete=False, reason="time budget", planned=9)
    assert main(["select", str(tmp_path)]) == 0
    assert "9 of 9 were not begun" in read_frozen(tmp_path)["unfinished"]


def test_final_test_waits_for_the_search_unless_the_choice_was_made_early(tmp_path: Path) -> None:
    run = make_run(tmp_path, FINISHED)
    end(run, complete=False, reason="interrupt", planned=9)
    study = analysis.load(tmp_path)
    with pytest.raises(BadInput, match=r"the search is not over: 9 of 9 .*--now"):
        refuse_early(study, "")
    refuse_early(study, "a deadline")


def test_scores_swapped_between_trials_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, FINISHED)
    whole = {name: analysis.load(tmp_path).scores(name) for name in ("00000", "00001")}
    sealed = {name: add_epoch(run, name, one.upto(1)) for name, one in whole.items()}
    with Ledger(run.ledger) as ledger:
        for name, seal in sealed.items():
            told = {"number": int(name), "epoch": 1, "metrics": {}, "scores": seal}
            ledger.append("result", **told, decision="finished")
    analysis.load(tmp_path).scores("00000")
    add_epoch(run, "00000", whole["00001"].upto(1))
    with pytest.raises(BadInput, match="is not what the ledger holds the hash of"):
        analysis.load(tmp_path).scores("00000")


def test_frozen_choice_of_a_whole_study_says_nothing_of_an_end(tmp_path: Path) -> None:
    run = make_run(tmp_path, FINISHED)
    end(run)
    assert main(["select", str(tmp_path)]) == 0
    content = json.loads(run.selection.read_text())
    assert (content["unfinished"], content["now"]) == ("", "")


def test_ledger_that_tells_of_no_beginning_lets_nothing_be_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, FINISHED)
    run.ledger.unlink()
    assert main(["select", str(tmp_path)]) == 2
    assert f"{run.ledger}: does not tell how the study began" in capsys.readouterr().err
    assert not run.selection.exists()


def test_table_without_a_hash_is_compared_with_the_ledger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, FINISHED)
    with Ledger(run.ledger) as ledger:
        ledger.append("ask", number=0, params={})
        ledger.append("result", number=0, epoch=1, metrics={}, decision="finished")
    assert main(["select", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert f"{run.trials}: trial 00001: is not on the ledger" in told
    assert "trial 00000" not in told


def test_what_has_no_hash_is_told_beside_the_choice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, FINISHED)
    assert main(["select", str(tmp_path)]) == 0
    told = "Not checked by a hash, since the ledger holds none (they are of an older version): "
    assert f"{told}spec.yaml, manifest.json, trials.parquet." in capsys.readouterr().out
    assert read_frozen(tmp_path)["unchecked"].startswith(told)
    assert main(["report", str(tmp_path)]) == 0
    assert told in run.report.read_text()


def test_reason_for_an_early_choice_stands_in_the_report(tmp_path: Path) -> None:
    run = make_run(tmp_path, FINISHED)
    end(run, complete=False, reason="interrupt", planned=9)
    assert main(["select", str(tmp_path), "--now", "a deadline"]) == 0
    assert main(["report", str(tmp_path)]) == 0
    page = run.report.read_text()
    assert "Chosen before the search was over: 9 of 9 were not begun." in page
    assert "Frozen early on purpose: a deadline." in page


def test_older_search_with_fewer_trials_than_its_spec_is_not_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, FINISHED)
    lines = run.ledger.read_bytes().splitlines(keepends=True)
    run.ledger.write_bytes(lines[0])
    wanted = analysis.load(tmp_path).section("tune")["num_trials"]
    with Ledger(run.ledger) as ledger:
        for number in range(3):
            ledger.append("ask", number=number, params={})
            ledger.append("result", number=number, epoch=1, metrics={}, decision="finished")
    assert main(["select", str(tmp_path)]) == 0
    assert f"Not frozen: {wanted - 3} of {wanted} were not begun." in capsys.readouterr().out
