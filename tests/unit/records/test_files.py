"""study.records.files: the names of a run's files, and writers that replace whole files."""

import json
import math
from pathlib import Path

import pytest

from study.records.files import RunFolder, replacing, write_bytes, write_json


def test_run_folder_names_every_file_of_the_contract() -> None:
    run = RunFolder(Path("runs/energy"))
    places = (run.spec, run.manifest, run.ledger, run.trials, run.epochs, run.study_db,
              run.selection, run.report, run.trial_scores("base"),
              run.epoch_scores("00001"), run.score_images())  # fmt: skip
    assert [str(place.relative_to(run.path)) for place in places] == [
        "spec.yaml", "manifest.json", "ledger.jsonl", "trials.parquet", "epochs.parquet",
        "study.db", "selection.json", "report.html", "scores/base.npz", "scores/00001",
        "scores/images.npz",
    ]  # fmt: skip


def test_write_bytes_makes_the_folder_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    write_bytes(path, b"one")
    write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_replacing_interrupted_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with replacing(path) as file:
            file.write(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_json_is_readable_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"value": 0.1})
    assert json.loads(path.read_text()) == {"value": 0.1}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"value": math.nan})
    assert json.loads(path.read_text()) == {"value": 0.1}
