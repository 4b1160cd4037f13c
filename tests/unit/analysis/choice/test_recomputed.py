"""analysis.choice.recomputed: an older run's metrics follow from its scores."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from analysis.__main__ import main
from study.records.files import RunFolder
from tests.golden.driving import recorded


@pytest.fixture
def older(tmp_path: Path) -> RunFolder:
    """A run of a version whose ledger held no hash."""
    return RunFolder(recorded("energy-finished", tmp_path))


def test_older_run_is_chosen_from_with_its_metrics_computed_again(
    older: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["select", str(older.path)]) == 0
    told = "the scores of 3 trials. The metrics were computed again from the scores."
    assert told in capsys.readouterr().out


def test_older_run_whose_scores_are_another_trials_is_refused(
    older: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copyfile(older.trial_scores("00002"), older.trial_scores("00000"))
    assert main(["select", str(older.path)]) == 2
    told = capsys.readouterr().err
    assert f"{older.epoch_scores('00000')}: trial 00000: val/" in told
    assert "by these scores" in told


def test_older_run_whose_scores_lack_the_chosen_epoch_is_refused(
    older: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copyfile(older.trial_scores("base"), older.trial_scores("00002"))
    chosen = pd.read_parquet(older.trials).set_index("trial_id").checkpoint_epoch["00002"]
    assert main(["select", str(older.path)]) == 2
    assert f"epoch {chosen} was not reported" in capsys.readouterr().err
