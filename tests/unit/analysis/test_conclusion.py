from __future__ import annotations

import json
import re
import shlex
from html import unescape
from pathlib import Path

import pytest

import analysis
from analysis.conclusion import conclude
from study.errors import StudyFailed
from study.records.files import RunFolder
from study.records.frozen import read_frozen
from study.records.ledger import Ledger
from tests.fake_confirm import FAKE
from tests.fake_run import Fake, make_run

pytestmark = pytest.mark.usefixtures("unrendered")


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


def test_conclusion_fits_80_columns_but_for_its_commands(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a rather long name of a study, in a folder with a long name too")
    with Ledger(run.ledger) as ledger:
        *told, report, board, test = conclude(run, ledger).splitlines()
    words = [line for line in told if " " in line.strip()]
    assert max(map(len, words)) <= 80
    commands = [shlex.split(line, comments=True) for line in (report, board, test)]
    assert commands[0][1:] == [str(run.report)]
    assert commands[1][1:] == ["tensorboard", "--logdir", str(run.tensorboard)]
    assert commands[2][2:] == ["python", "-m", "analysis", "test", str(run.path)]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "energy", FAKE)


def test_conclusion_freezes_the_choice_and_tells_it(tmp_path: Path) -> None:
    run = make_run(tmp_path / "energy")
    with Ledger(run.ledger) as ledger:
        text = conclude(run, ledger)
        (selected,) = ledger.events("selected")
    frozen = read_frozen(run.path)
    assert selected["trial_id"] == frozen["trial_id"]
    assert selected["sha256"] == frozen["sha256"]
    assert f"Selected trial {frozen['trial_id']}, epoch {frozen['epoch']}" in text
    assert f"FPR95          {100 * frozen['value']:.1f} % [" in text
    assert f"python -m analysis test {run.path}" in text
    assert str(run.report) in text
    assert "DEMO" not in text
    report = run.report.read_text()
    assert frozen["trial_id"] in report
    assert frozen["sha256"][:12] in report


def test_commands_of_the_conclusion_are_quoted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "my study [a=1]")
    with Ledger(run.ledger) as ledger:
        lines = conclude(run, ledger).splitlines()
    told = [line for line in lines if line.startswith(("TensorBoard", "Final test"))]
    commands = {line.split()[0]: shlex.split(line, comments=True) for line in told}
    assert commands["Final"][2:] == ["python", "-m", "analysis", "test", str(run.path)]
    assert commands["TensorBoard"][1:] == ["tensorboard", "--logdir", str(run.tensorboard)]


def test_study_without_an_ood_test_is_told_that_there_is_none(tmp_path: Path) -> None:
    run = make_run(tmp_path / "energy")
    manifest = json.loads(run.manifest.read_text())
    manifest["data"]["plan"] = {"ood_test": []}
    run.manifest.write_text(json.dumps(manifest))
    with Ledger(run.ledger) as ledger:
        text = conclude(run, ledger)
    assert "Final test   none: the study has no OOD test set" in text
    assert "The study has no OOD test set." in _text(run.report.read_text())


def test_conclusion_of_the_same_study_is_on_the_ledger_once(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with Ledger(run.ledger) as ledger:
        first = conclude(run, ledger)
        frozen = run.selection.read_bytes()
        assert conclude(run, ledger) == first
        assert len(ledger.events("selected")) == 1
    assert run.selection.read_bytes() == frozen


def test_conclusion_on_the_demo_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(demo=True))
    with Ledger(run.ledger) as ledger:
        assert conclude(run, ledger).startswith("EMBEDDED DEMO, not CIFAR-10")


def test_conclusion_without_a_candidate_gives_a_reason_a_report_and_no_choice(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path, Fake(statuses=("failed", "pruned", "paused")))
    with Ledger(run.ledger) as ledger:
        with pytest.raises(StudyFailed, match="report says more"):
            conclude(run, ledger)
        assert ledger.events("selected") == []
    assert run.report.exists()
    assert not run.selection.exists()


def test_corrected_value_has_the_unit_of_what_stands_beside_it(run: RunFolder) -> None:
    with Ledger(run.ledger) as ledger:
        ended = conclude(run, ledger)
    found = analysis.load(run.path).correct()
    low, high = found.interval
    told = f"{100 * found.corrected:.1f} %, 90 % interval {100 * low:.1f} to {100 * high:.1f} %"
    assert f"{told} {found.left_out}" in " ".join(ended.split())
    text = _text(run.report.read_text())
    assert told in text
    assert found.how in text
    assert "Chosen in the resamples" in text
