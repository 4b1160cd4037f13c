from __future__ import annotations

from pathlib import Path

import pandas as pd

from study.records.files import RunFolder
from study.tune.record import TrialRecord
from study.tune.tables import trials_table, write_tables
from tests.toys import run_toy_search


def _params(record: TrialRecord) -> dict[str, object]:
    return {"train.x": record.params["x"], "train.kind": record.params["kind"]}


def test_tables_come_back_typed_and_tell_every_trial(tmp_path: Path) -> None:
    decisions = run_toy_search(tmp_path / "ledger", 6, stop_after=20, finish=3)
    run = RunFolder(tmp_path)
    write_tables(run, decisions.trials, _params, "best", live=False)
    trials, epochs = pd.read_parquet(run.trials), pd.read_parquet(run.epochs)
    assert trials["trial_id"].tolist() == [f"{n:05d}" for n in range(len(decisions.trials))]
    assert len(epochs) == sum(len(trial.epochs) for trial in decisions.trials) == 20
    assert trials["param/train.x"].dtype == "float64"
    assert trials["epochs"].dtype == "int64"
    for row, trial in zip(trials.itertuples(), decisions.trials, strict=True):
        assert row.status == ("paused" if trial.status == "running" else trial.status)
    assert trials["val/objective"].tolist() == [min(t.objectives) for t in decisions.trials]


def test_unfinished_trial_is_running_while_the_session_lives() -> None:
    table = trials_table([TrialRecord(0, 0, {"x": 1.0, "kind": "a"})], _params, "best", live=True)
    assert table["status"].tolist() == ["running"]


def test_table_on_disk_names_the_searched_parameters_and_has_them_before_the_fixed(
    tmp_path: Path,
) -> None:
    decisions = run_toy_search(tmp_path / "ledger", 2)
    table = trials_table(
        decisions.trials, lambda one: {"a": 1, **one.params, "z": 2}, "best", live=False
    )
    file = tmp_path / "trials.parquet"
    table.to_parquet(file, index=False)
    back = pd.read_parquet(file)
    assert back.attrs["searched"] == [f"param/{name}" for name in decisions.trials[0].params]
    names = [name for name in back.columns if name.startswith("param/")]
    assert names[-2:] == ["param/a", "param/z"]
