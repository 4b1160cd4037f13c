from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis
from analysis.choice.whole import refuse_changed
from analysis.report import sections
from analysis.report.page import make_report
from analysis.results import final_test, other_process
from analysis.statistics.compare import SELECTIVE, compare
from analysis.study import Study
from study.errors import BadInput, Interrupted, StudyFailed
from study.records.files import RunFolder, write_json
from study.records.frozen import read_frozen
from study.records.ledger import Ledger
from study.scoring.measuring import OOD_METRICS
from tests.fake_run import Fake, freeze, make_final_scores, make_run, make_scores

pytestmark = pytest.mark.usefixtures("unrendered")

COLUMNS = [
    f"{metric}{end}" for metric in (*OOD_METRICS, *SELECTIVE) for end in ("", "_low", "_high")
]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    make_run(tmp_path)
    freeze(analysis.load(tmp_path))
    return analysis.load(tmp_path)


def _stub(monkeypatch: pytest.MonkeyPatch, code: int = 0) -> list[list[str]]:
    """Stand in for the other process: leaves scores where it succeeds."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        if code == 0:
            make_final_scores(RunFolder(Path(command[4])))
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(other_process.subprocess, "run", run)
    return calls


def _note_opening(study: Study, seal: str) -> None:
    with Ledger(study.folder.ledger) as ledger:
        ledger.append("test opened", selection=seal)


def test_final_test_leaves_the_contracts_table(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _stub(monkeypatch)
    table = final_test.run_final_test(study)
    assert calls[0][1:] == ["-P", "-m", "study.final_test", str(study.folder.path)]
    written = pd.read_parquet(study.folder.final_test / "results.parquet")
    pd.testing.assert_frame_equal(written, table, check_dtype=False)
    assert {"model", "dataset", "score", "n_id", "n_ood", *COLUMNS} <= set(written.columns)
    assert set(written["dataset"]) == {"objects", "textures", "mean"}
    assert set(written["score"]) == {"msp", "max_logit", "energy"}


def test_final_test_a_second_time_is_refused_without_a_reason(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _stub(monkeypatch)
    final_test.run_final_test(study)
    with pytest.raises(BadInput, match="--again"):
        final_test.run_final_test(study)
    final_test.run_final_test(study, again="a bug in the table")
    assert len(calls) == 2
    assert calls[1][-2:] == ["--again", "a bug in the table"]


def test_table_of_the_final_test_that_was_edited_is_refused_and_made_anew(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = _stub(monkeypatch)
    _note_opening(study, read_frozen(study.folder.path)["sha256"])
    path, results = study.folder.path, study.folder.test_results
    table = final_test.run_final_test(analysis.load(path))
    table.assign(fpr95=0.001).to_parquet(results, index=False)
    with pytest.raises(
        BadInput, match=r"results\.parquet: is not what .* `python -m analysis test`"
    ):
        refuse_changed(analysis.load(path))
    again = final_test.run_final_test(analysis.load(path))
    assert f"{results}: is not what was written; it is made anew" in capsys.readouterr().err
    pd.testing.assert_frame_equal(again, table)
    refuse_changed(analysis.load(path))
    assert len(calls) == 1


def test_scores_of_the_final_test_that_were_edited_are_refused(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stub(monkeypatch)
    final_test.run_final_test(study)
    (study.folder.final_test / "winner.npz").write_bytes(b"another's")
    with pytest.raises(BadInput, match=r"winner\.npz: is not what the ledger holds the hash of"):
        final_test.run_final_test(analysis.load(study.folder.path))


def test_scores_of_the_final_test_that_were_lost_are_made_anew_for_a_reason(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stub(monkeypatch)
    table = final_test.run_final_test(study)
    shutil.rmtree(study.folder.final_test)
    with pytest.raises(BadInput, match=r"winner\.npz: is missing"):
        final_test.run_final_test(analysis.load(study.folder.path))
    again = final_test.run_final_test(analysis.load(study.folder.path), again="a full disk")
    pd.testing.assert_frame_equal(again, table)


def test_final_test_that_was_cut_short_opens_nothing_again(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _stub(monkeypatch)
    make_final_scores(study.folder)
    _note_opening(study, read_frozen(study.folder.path)["sha256"])
    final_test.run_final_test(analysis.load(study.folder.path))
    assert calls == []


def test_final_test_beside_another_process_leaves_no_table_without_a_hash(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stub(monkeypatch)
    make_final_scores(study.folder)
    _note_opening(study, read_frozen(study.folder.path)["sha256"])
    with Ledger(study.folder.ledger), pytest.raises(BadInput, match="another process is working"):
        final_test.run_final_test(analysis.load(study.folder.path))
    assert not study.folder.test_results.exists()


def test_final_test_never_takes_the_scores_of_another_choice(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _stub(monkeypatch)
    make_final_scores(study.folder)
    _note_opening(study, "the hash of an earlier choice")
    final_test.run_final_test(analysis.load(study.folder.path))
    assert len(calls) == 1


def test_final_test_with_earlier_openings_on_this_machine_tells_them(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stub(monkeypatch)
    final_test.run_final_test(study)
    earlier = [{"time": "2025-01-01T00:00:00+00:00", "run": "/x/other", "reason": ""}]
    write_json(study.folder.final_test / "access.json", {"earlier_on_this_machine": earlier})
    told = sections.final(study)
    assert told is not None
    assert told["earlier"] == [{**earlier[0], "run": "other"}]
    assert "01 January 2025, 00:00 UTC by other" in make_report(study).html


def test_final_test_of_an_earlier_choice_is_marked(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stub(monkeypatch)
    final_test.run_final_test(study)
    _note_opening(study, "the hash of an earlier choice")
    told = sections.final(analysis.load(study.folder.path))
    assert told is not None
    assert told["stale"]
    assert told["times"] == 1


def test_final_test_of_a_changed_choice_is_refused_before_anything_opens(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _stub(monkeypatch)
    text = study.folder.selection.read_text()
    study.folder.selection.write_text(text.replace('"epoch": ', '"epoch": 1'))
    with pytest.raises(BadInput, match="does not match its hash"):
        final_test.run_final_test(study)
    assert calls == []


@pytest.mark.parametrize(
    ("code", "error"), [(1, StudyFailed), (2, BadInput), (130, Interrupted), (-9, StudyFailed)]
)
def test_final_test_passes_on_how_the_other_process_ended(
    study: Study, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
) -> None:
    _stub(monkeypatch, code)
    with pytest.raises(error):
        final_test.run_final_test(study)


def test_final_test_with_a_torn_scores_file_names_it(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_final_scores(study.folder)
    _note_opening(study, read_frozen(study.folder.path)["sha256"])
    (study.folder.final_test / "winner.npz").write_bytes(b"PK")
    with pytest.raises(BadInput, match=r"winner\.npz: not a readable scores file"):
        final_test.run_final_test(analysis.load(study.folder.path))


def test_final_test_of_an_older_run_gains_what_its_scores_tell_by_now(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stub(monkeypatch)
    now = final_test.run_final_test(study)
    path = study.folder.final_test / "results.parquet"
    new = [f"{name}{end}" for name in SELECTIVE for end in ("", "_low", "_high")]
    pd.read_parquet(path).drop(columns=new).to_parquet(path, index=False)
    again = final_test.load_results(study.folder)
    assert again is not None
    assert again["oscr"].tolist() == pytest.approx(now["oscr"].tolist())
    assert again["fpr95_low"].tolist() == now["fpr95_low"].tolist()
    assert "oscr" not in pd.read_parquet(path).columns


def test_final_test_names_the_positives_of_error_detection(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stub(monkeypatch)
    rows = final_test.selective_rows(final_test.run_final_test(study))
    assert {row["model"] for row in rows} == {"chosen", "base", "difference"}
    assert "AUGRC, misclassified ID positive" in rows[0]
    page = make_report(study).html
    assert "Errors on ID test images" in page
    assert "misclassified ID images, which are the positives" in page


def test_final_test_without_a_single_error_tells_none() -> None:
    sets = make_scores(Fake(), "winner", [(1.0, 2.0)], test=True).sets
    table = compare({"winner": sets}, id_name="test_id", selective=True, num_resamples=20)
    assert table["error_auroc"].isna().all()
    assert table["ece"].notna().all()
    label = "Error AUROC, misclassified ID positive"
    assert {row[label] for row in final_test.selective_rows(table)} == {"–"}
