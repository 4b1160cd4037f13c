from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.__main__ import main
from analysis.results import other_process
from tests.fake_run import freeze, make_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_run(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for the other process; holds the cards that it was handed."""
    handed: list[str] = []

    def export(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:4] == ["-P", "-m", "study.export"]
        out = Path(command[5])
        if out.exists():
            return subprocess.CompletedProcess(command, 2)
        handed.append(Path(command[command.index("--card") + 1]).read_text(encoding="utf-8"))
        out.mkdir()
        (out / "model.json").touch()
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(other_process.subprocess, "run", export)
    return handed


def test_export_model_hands_the_exporter_a_card_with_numbers_and_data(
    run: Path, cards: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = freeze(analysis.load(run))
    assert main(["export", str(run), "--model", str(run.parent / "out")]) == 0
    out = capsys.readouterr().out
    assert str(run.parent / "out" / "model.json") in out
    assert "python -m study.score" in out
    (card,) = cards
    low, high = frozen["interval"]
    value = f"{100 * frozen['value']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    assert f"Validation, on which it was chosen: FPR95 {value}" in card
    assert "The final test was not done" in card
    assert "| val_id | 400 | synthetic numbers for tests (val_id) |" in card


def test_export_model_without_a_frozen_choice_is_refused(
    run: Path, cards: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), "--model", str(run.parent / "out")]) == 2
    assert "no trial has been chosen yet" in capsys.readouterr().err
    assert cards == []


def test_export_model_that_the_exporter_refuses_exits_2(
    run: Path, cards: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    freeze(analysis.load(run))
    (run.parent / "out").mkdir()
    assert main(["export", str(run), "--model", str(run.parent / "out")]) == 2
    assert "the export refused its input; see above" in capsys.readouterr().err
