from __future__ import annotations

from pathlib import Path

import pytest

from analysis.__main__ import main
from analysis.choice.confirmation import candidates_to_confirm
from study.records.files import RunFolder
from tests.fake_confirm import FAKE, confirm
from tests.fake_run import make_run


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "energy", FAKE)


def test_trials_command_lists_the_confirming_ones(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    (first,) = candidates_to_confirm(run, 1)
    confirm(run, {first: [(0.80, 1.5), (0.80, 1.6), (0.80, 1.4)]})
    assert main(["trials", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "Candidates trained anew on fresh seeds" in out
    assert "00005" in out
    assert main(["trials", str(run.path), "--json"]) == 0
    assert capsys.readouterr().out.count('"arm": "confirm"') == 3
