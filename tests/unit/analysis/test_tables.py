from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.__main__ import main
from analysis.tables import Records, direction_of, under_floor
from study.errors import BadInput
from study.records.ledger import Ledger
from study.records.sealed import note_end
from tests.fake_run import Fake, make_run


def test_load_of_a_run_gives_typed_tables(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    study = analysis.load(tmp_path / "run")
    assert len(study.trials) == 10
    assert study.trials["trial_id"].is_monotonic_increasing
    assert study.trials["status"].cat.categories[0] == "finished"
    assert study.trials["seed"].dtype == "Int64"
    assert study.trials["val/fpr95"].dtype == np.float64
    assert study.status_counts() == {"finished": 6, "pruned": 2, "failed": 1, "paused": 1}
    assert study.ood_sets == ("objects_val", "blobs")
    assert study.searched[:2] == ("param/train.lr", "param/train.m_in.sd")
    assert study.is_log("param/train.lr")
    assert not study.is_log("param/train.m_in.sd")


def test_own_score_without_manifest_entry_is_found_in_the_numbers(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    text = run.manifest.read_text().replace('"own_score": "energy",', "")
    run.manifest.write_text(text)
    assert Records.read(tmp_path).own_score == "energy"


@pytest.mark.parametrize(
    ("name", "direction"),
    [("val/fpr95", "min"), ("val/objective", "min"), ("val/auroc", "max"), ("a/b/aupr_in", "max")],
)
def test_direction_of_known_metrics(name: str, direction: str) -> None:
    assert direction_of(name) == direction


def test_direction_of_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"val/fpr59.*known: .*auroc"):
        direction_of("val/fpr59")


def test_load_of_a_missing_folder_names_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere: no such directory"):
        analysis.load(tmp_path / "nowhere")


def test_load_of_a_folder_without_a_study_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no trials\.parquet"):
        analysis.load(tmp_path)


def test_load_of_a_torn_table_names_the_file(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.trials.write_bytes(run.trials.read_bytes()[:200])
    with pytest.raises(BadInput, match=r"trials.parquet: not a readable Parquet file"):
        analysis.load(tmp_path)


def test_load_of_a_foreign_table_names_the_missing_column(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "trials.parquet")
    with pytest.raises(BadInput, match="trial_id: the column is missing"):
        analysis.load(tmp_path)


def test_load_of_a_table_without_columns_is_an_empty_study(tmp_path: Path) -> None:
    pd.DataFrame([]).to_parquet(tmp_path / "trials.parquet")
    study = analysis.load(tmp_path)
    assert len(study.trials) == 0
    assert study.status_counts() == {}


def test_finished_trial_with_nan_is_named_and_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    frame = pd.read_parquet(run.trials)
    frame.loc[frame["trial_id"] == "00002", "val/fpr95"] = np.nan
    frame.to_parquet(run.trials, index=False)
    study = analysis.load(tmp_path)
    assert "00002" not in set(study.trials["trial_id"])
    assert study.faults == (
        "trials.parquet: trial 00002 is finished but has no val/fpr95; left out.",
    )


def test_scores_of_a_torn_file_name_it(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = run.trial_scores("00000")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadInput, match="scores/00000: no readable scores"):
        analysis.load(tmp_path).scores("00000")


def test_thousand_trials_of_hundred_epochs_load_within_two_seconds(tmp_path: Path) -> None:
    import time

    make_run(tmp_path, Fake(statuses=("finished",), num_id=20))
    one = pd.read_parquet(tmp_path / "epochs.parquet").iloc[[0]]
    epochs = one.loc[one.index.repeat(100_000)].assign(
        trial_id=np.repeat([f"{i:05d}" for i in range(1000)], 100),
        epoch=np.tile(np.arange(1, 101), 1000),
    )
    epochs.to_parquet(tmp_path / "epochs.parquet", index=False)
    start = time.process_time()  # of all threads: the clock would tell of other programs too
    study = analysis.load(tmp_path)
    assert len(study.epochs) == 100_000
    assert time.process_time() - start < 2.0


def test_torn_epochs_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(num_id=30))
    run.epochs.write_bytes(run.epochs.read_bytes()[:300])
    study = analysis.load(tmp_path)
    assert "epochs.parquet: not a readable Parquet file" in study.faults[0]
    assert study.select(10).trial_id


def test_epoch_with_nan_is_named_and_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(num_id=30))
    frame = pd.read_parquet(run.epochs)
    frame.loc[1, "val/auroc"] = math.nan
    frame.to_parquet(run.epochs, index=False)
    study = analysis.load(tmp_path)
    assert study.faults == ("epochs.parquet: trial 00000, epoch 2 has no val/auroc; left out.",)
    assert len(study.epochs) == len(frame) - 1


def test_half_written_ledger_line_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(num_id=30))
    with run.ledger.open("ab") as file:
        file.write(b'{"event":"sel')
    assert analysis.load(tmp_path).faults == (
        "ledger.jsonl: the last line is half-written; left out.",
    )


@pytest.mark.parametrize("told", [True, False], ids=["by its shortfall", "of an older run"])
def test_trial_under_the_floor_is_known_by_what_it_told_or_by_its_accuracy(
    tmp_path: Path, told: bool
) -> None:
    make_run(tmp_path)
    study = Records.read(tmp_path)
    assert study.floor is not None
    rows = study.trials.head(2).assign(**{"val/id_accuracy": study.floor.value + 0.001})
    rows.loc[rows.index[0], "val/id_accuracy"] = study.floor.value - 0.1
    rows["val/floor_shortfall"] = [0.1, 0.0]
    rows = rows if told else rows.drop(columns="val/floor_shortfall")
    assert under_floor(study, rows).tolist() == [True, False]


def test_trials_begin_with_what_people_ask_first_and_name_the_searched(tmp_path: Path) -> None:
    make_run(tmp_path)
    trials = Records.read(tmp_path).trials
    assert list(trials.columns[:5]) == [
        "trial_id", "status", "reason", "val/id_accuracy", "val/fpr95",
    ]  # fmt: skip
    assert trials.attrs["searched"] == list(Records.read(tmp_path).searched)


def test_table_that_is_not_what_the_ledger_says_is_told_by_every_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path)
    with Ledger(run.ledger) as ledger:
        note_end(ledger, run, complete=True, reason="", unfinished=0, planned=10)
    assert analysis.load(tmp_path).faults == ()
    table = pd.read_parquet(run.trials)
    table.assign(**{"val/fpr95": 0.001}).to_parquet(run.trials, index=False)
    assert main(["trials", str(tmp_path)]) == 0
    told = f"warning: {run.trials}: is not what the ledger holds the hash of."
    assert told in capsys.readouterr().err
