"""The command line's --replay, and what it says where the disk is full."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from study import replay, run
from study.arguments import parse
from study.cli import main
from study.errors import BadInput
from study.options import ReplayOptions
from study.records.disk import DiskFull
from study.records.ledger import Ledger
from study.replay import Agreement


@pytest.mark.parametrize("trial", ["3", "00003"])
def test_parse_of_replay_takes_folder_and_trial(tmp_path: Path, trial: str) -> None:
    options = parse(["--replay", str(tmp_path), trial, "--quiet"])
    assert isinstance(options, ReplayOptions)
    assert (options.directory, options.trial, options.quiet) == (tmp_path, 3, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--replay", "{folder}"], "expected 2 arguments"),
        (["--replay", "{folder}", "best"], "a trial is named by its number"),
        (["--replay", "{folder}/none", "3"], "does not exist"),
        (["--replay", "{folder}", "3", "--seed", "1"], "cannot go with --replay"),
        (["--replay", "{folder}", "3", "--space", "energy"], "exclude each other"),
        (["--replay", "{folder}", "3", "--replay", "{folder}", "4"], "given 2 times"),
    ],
)
def test_parse_of_a_wrong_replay_is_told(tmp_path: Path, arguments: list[str], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        parse([argument.format(folder=tmp_path) for argument in arguments])


@pytest.mark.parametrize(("differences", "code"), [([], 0), (["epoch 2, lr: 1 and 2"], 1)])
def test_replay_exits_by_its_finding_and_tells_it_on_stdout(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    differences: list[str],
    code: int,
) -> None:
    found = Agreement("00003", "3 epochs", differences)
    monkeypatch.setattr(replay, "replay", lambda *_: found)
    assert main(["--replay", str(tmp_path), "3"]) == code
    out = capsys.readouterr().out
    assert out == found.text() + "\n"
    assert ("bit for bit" in out) == (code == 0)


def test_replay_of_no_study_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--replay", str(tmp_path), "3"]) == 2
    assert "holds no study" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        DiskFull("No space left on device; 2 trials are paused."),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors"),
    ],
)
def test_full_disk_exits_1_says_so_and_how_to_go_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    def fail(*_: Any, **__: Any) -> str:
        with Ledger(tmp_path / "run" / "ledger.jsonl") as ledger:
            ledger.append("started")
            raise error

    monkeypatch.setattr(run, "run_study", fail)
    assert main(["--space", "energy", "--out", str(tmp_path / "run")]) == 1
    told = capsys.readouterr().err
    assert "The study is paused: the disk is full" in told
    assert f"--resume {tmp_path / 'run'}" in told
    assert "Traceback" not in told
