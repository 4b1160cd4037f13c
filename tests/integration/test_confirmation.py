"""A study that confirms its best candidates, killed in the middle of it, ends the same."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import optuna
import pandas as pd
import pytest

from analysis.results.final_test import load_results, load_seeds
from study.records.files import RunFolder
from study.records.ledger import read_ledger
from study.tune.study_db import CONFIRMATION
from tests.integration.runs import NUM_TRIALS, Shell, decisions, new_study, num_events

pytestmark = [pytest.mark.ray, pytest.mark.slow]
CONFIRM = "select.confirm={top: 2, seeds: 2}"
_WALL_CLOCK = ("time_s", "lost")


def _new(out: str) -> list[str]:
    return [*new_study(out), CONFIRM]  # the last option of new_study is --set


@pytest.fixture(scope="module")
def confirmed(
    tmp_path_factory: pytest.TempPathFactory, caches: dict[str, str], data: Path
) -> Path:
    """The folder of a study with a confirmation that was never interrupted."""
    shell = Shell(tmp_path_factory.mktemp("confirmed"), caches, data)
    code, out = shell.study(*_new("whole"))
    assert code == 0, shell.told()
    assert "Confirmed on 2 fresh seeds each" in out
    return shell.folder / "whole"


def _same_end(run: Path, whole: Path) -> None:
    assert decisions(run) == decisions(whole)
    one, two = (json.loads((one / "selection.json").read_text()) for one in (run, whole))
    assert one == two
    tables = [pd.read_parquet(one / "trials.parquet") for one in (run, whole)]
    pd.testing.assert_frame_equal(*(table.drop(columns=list(_WALL_CLOCK)) for table in tables))


def _result_of(run: Path, number: int, epoch: int) -> Callable[[], bool]:
    def seen() -> bool:
        if num_events(run, "confirm") == 0:
            return False
        told = (run / "ledger.jsonl").read_bytes()
        return b'"event":"result"' in told and (
            f'"number":{number},"epoch":{epoch},'.encode() in told
        )

    return seen


@pytest.mark.parametrize(
    ("number", "epoch"), [(NUM_TRIALS, 1), (NUM_TRIALS + 1, 2), (NUM_TRIALS + 3, 1)]
)
def test_study_killed_in_its_confirmation_resumes_to_the_same_choice(
    shell: Shell, confirmed: Path, number: int, epoch: int
) -> None:
    run = shell.folder / "cut"
    code, _ = shell.stopped(_new("cut"), _result_of(run, number, epoch), signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (run / "selection.json").exists()
    code, _ = shell.study("--resume", "cut")
    assert code == 0, shell.told()
    _same_end(run, confirmed)


def test_study_killed_right_after_the_choice_keeps_to_it(shell: Shell, confirmed: Path) -> None:
    run = shell.folder / "cut"
    shell.stopped(_new("cut"), lambda: num_events(run, "confirm") > 0, signal.SIGKILL)
    assert num_events(run, "confirm") == 1
    code, _ = shell.study("--resume", "cut")
    assert code == 0, shell.told()
    assert num_events(run, "confirm") == 1
    _same_end(run, confirmed)


def test_confirming_trials_are_in_a_database_of_their_own(confirmed: Path) -> None:
    storage = f"sqlite:///{confirmed / 'study.db'}"
    search = optuna.load_study(study_name="whole", storage=storage).trials
    again = optuna.load_study(study_name=f"whole {CONFIRMATION}", storage=storage).trials
    assert (len(search), len(again)) == (NUM_TRIALS, 4)
    by_id = {trial.user_attrs["trial_id"]: trial.params for trial in search}
    assert all(trial.params == by_id[trial.user_attrs["confirms"]] for trial in again)
    assert len({trial.user_attrs["seed"] for trial in again}) == 4


def test_extended_study_confirms_anew_and_replays_a_confirming_trial(
    shell: Shell, confirmed: Path
) -> None:
    run = Path(shutil.copytree(confirmed, shell.folder / confirmed.name))
    code, _ = shell.study("--extend", run.name, "--num-trials", "+1")
    assert code == 0, shell.told()
    events = [one for one in read_ledger(run / "ledger.jsonl")[0] if one["event"] == "confirm"]
    assert [one["num_searched"] for one in events] == [NUM_TRIALS, NUM_TRIALS + 1]
    table = pd.read_parquet(run / "trials.parquet").set_index("trial_id")
    assert table.index[table["arm"] == "search"].tolist()[-1] == f"{NUM_TRIALS + 4:05d}"
    kept = pd.read_parquet(confirmed / "trials.parquet").set_index("trial_id")
    assert table.loc[kept.index, "val/fpr95"].equals(kept["val/fpr95"])
    code, out = shell.study("--replay", run.name, str(NUM_TRIALS))
    assert code == 0, out + shell.told()


def test_final_test_scores_every_seed_of_the_winner(shell: Shell, confirmed: Path) -> None:
    run = Path(shutil.copytree(confirmed, shell.folder / confirmed.name))
    code, _ = shell.run("-m", "analysis", "test", run.name)
    assert code == 0, shell.told()
    results, seeds = load_results(RunFolder(run)), load_seeds(RunFolder(run))
    assert results is not None
    assert seeds is not None
    frozen = json.loads((run / "selection.json").read_text())
    assert set(seeds["trial_id"]) == set(frozen["confirmation"]["tested"])
    assert results["model"].unique().tolist() == ["winner", "base", "winner - base"]
