"""study.records.files: writers that replace whole files, and the per-image scores of a trial."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from study.records.files import (
    VAL_ID,
    RunFolder,
    SetScores,
    ValidationScores,
    replacing,
    write_bytes,
    write_json,
)


def one_set(num_epochs: int, num_images: int, seed: int) -> SetScores:
    draw = np.random.default_rng(seed)
    names = np.array([f"image{index}" for index in range(num_images)], "S")
    return SetScores(
        {name: draw.normal(size=(num_epochs, num_images)) for name in ("energy", "msp")},
        draw.integers(0, 10, (num_epochs, num_images)).astype(np.int16),
        draw.integers(0, 10, num_images).astype(np.int16),
        names,
        np.array([name[:6] for name in names], "S"),
    )


def scores_of(*epochs: int) -> ValidationScores:
    sets = {VAL_ID: one_set(len(epochs), 5, 0), "letters/a": one_set(len(epochs), 4, 1)}
    return ValidationScores(np.array(epochs, np.int32), sets)


def assert_equal(one: ValidationScores, two: ValidationScores) -> None:
    np.testing.assert_array_equal(one.epochs, two.epochs)
    assert list(one.sets) == list(two.sets)
    for name, first in one.sets.items():
        second = two.sets[name]
        assert list(first.scores) == list(second.scores)
        for score, values in first.scores.items():
            np.testing.assert_array_equal(values, second.scores[score])
        for part in ("prediction", "label", "image", "group"):
            np.testing.assert_array_equal(getattr(first, part), getattr(second, part))
            assert getattr(first, part).dtype == getattr(second, part).dtype


def test_run_folder_names_every_file_of_the_contract() -> None:
    run = RunFolder(Path("runs/energy"))
    places = (run.spec, run.manifest, run.ledger, run.trials, run.epochs, run.study_db,
              run.selection, run.report, run.trial_scores("00001"))  # fmt: skip
    assert [str(place.relative_to(run.path)) for place in places] == [
        "spec.yaml", "manifest.json", "ledger.jsonl", "trials.parquet", "epochs.parquet",
        "study.db", "selection.json", "report.html", "scores/00001.npz",
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


def test_scores_loaded_are_what_was_saved(tmp_path: Path) -> None:
    scores = scores_of(1, 2, 5)
    scores.save(tmp_path / "00001.npz")
    assert_equal(ValidationScores.load(tmp_path / "00001.npz"), scores)


def test_scores_of_another_schema_are_refused_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "old.npz", schema=np.int32(99))
    with pytest.raises(ValueError, match=r"old\.npz.*schema"):
        ValidationScores.load(tmp_path / "old.npz")


def test_scores_with_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", schema=np.array([print], dtype=object))
    with pytest.raises(ValueError, match="pickle"):
        ValidationScores.load(tmp_path / "bad.npz")


def test_scores_at_an_epoch_find_its_row_or_say_which_there_are() -> None:
    assert scores_of(1, 2, 5).at(5) == 2
    with pytest.raises(KeyError, match="epoch 3 was not reported"):
        scores_of(1, 2, 5).at(3)


def test_scores_cut_and_joined_are_the_whole() -> None:
    whole = scores_of(1, 2, 3)
    head = whole.upto(2)
    assert head.epochs.tolist() == [1, 2]
    last = ValidationScores(
        whole.epochs[2:],
        {
            name: SetScores(
                {score: values[2:] for score, values in one.scores.items()},
                one.prediction[2:], one.label, one.image, one.group,
            )
            for name, one in whole.sets.items()
        },
    )  # fmt: skip
    assert_equal(head.followed_by(last), whole)


def test_scores_before_the_first_epoch_are_followed_by_the_first() -> None:
    empty = ValidationScores(np.empty(0, np.int32))
    assert_equal(empty.followed_by(scores_of(1)), scores_of(1))
