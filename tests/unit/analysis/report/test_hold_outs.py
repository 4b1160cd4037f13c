"""A study under several hold-outs told as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import analysis
from analysis.__main__ import main
from analysis.report.hold_outs import EACH, overview, write_overview
from analysis.tables import Records
from study.records.files import RunFolder
from study.records.hold_outs import write_hold_outs
from tests.fake_ablation import make_ablation

CLASSES = (("beagle", "pug"), ("pug", "boxer"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two hold-outs; the class that the first tests on is one that the second selects on."""
    for number, (val, test) in enumerate(CLASSES, start=1):
        folder = tmp_path / f"hold_out_{number}"
        make_ablation(folder, lambda arm, seed: 0.3 + 0.1 * (arm != "baseline") + 0.01 * seed)
        spec = RunFolder(folder).spec
        told = yaml.safe_load(spec.read_text())
        told["data"]["hold_out"] = {"near_val": [val], "near_test": [test]}
        spec.write_text(yaml.safe_dump(told))
    write_hold_outs(tmp_path, [{}, {}])
    return tmp_path


def _studies(run: Path) -> list[Records]:
    return [Records.read(run / f"hold_out_{number}") for number in (1, 2)]


def test_overview_tells_classes_and_choice_of_each_hold_out(run: Path) -> None:
    table = overview(_studies(run)).tables[EACH]
    assert table["near_val"].tolist() == ["beagle", "pug"]
    assert table["chosen"].tolist() == ["baseline", "baseline"]


def test_overview_joins_the_effects(run: Path) -> None:
    found = overview(_studies(run), ["val/fpr95"])
    assert found.table["n"].tolist() == [6, 6, 6]
    (effects,) = [one for title, one in found.tables.items() if title != EACH]
    assert effects["over hold-outs"].iloc[0].startswith("[")


def test_class_that_is_selected_on_here_and_tested_on_there_is_told(run: Path) -> None:
    assert any(
        note.startswith("pug: near_val of one hold-out") for note in overview(_studies(run)).notes
    )


def test_page_links_the_page_of_each(run: Path) -> None:
    page = write_overview(run, _studies(run)).read_text()
    assert 'href="hold_out_2/report.html"' in page


def test_ablation_command_tells_all_hold_outs_together(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ablation", str(run), "--json"]) == 0
    assert {row["n"] for row in json.loads(capsys.readouterr().out)} == {6}


def test_other_commands_tell_each_hold_out(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trials", str(run), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["hold_out_1", "hold_out_2"]


def test_command_tells_what_is_wrong_with_every_hold_out(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run)]) == 2
    told = capsys.readouterr().err
    assert "hold_out_1" in told
    assert "hold_out_2" in told


def test_hold_out_that_is_missing_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "hold_out_2").rename(run / "elsewhere")
    assert main(["trials", str(run)]) == 2
    assert "the folder of a hold-out is missing" in capsys.readouterr().err


def test_load_reads_all_hold_outs(run: Path) -> None:
    assert list(analysis.load(run).studies) == ["hold_out_1", "hold_out_2"]
