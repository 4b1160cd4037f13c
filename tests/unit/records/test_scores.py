"""study.records.scores: the per-image scores of a trial, a file an epoch, sealed by its hash."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from study.records.files import VAL_ID, RunFolder
from study.records.scores import (
    SetScores,
    ValidationScores,
    add_epoch,
    has_scores,
    read_scores,
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


def test_scores_at_a_state_go_by_epoch_and_alpha() -> None:
    scores = ValidationScores(np.array([1, 1, 2], np.int32), {}, np.array([0.2, 1.0, 1.0]))
    assert [scores.at(1, 0.2), scores.at(1), scores.at(2)] == [0, 1, 2]
    with pytest.raises(KeyError, match=r"epoch 2, alpha 0\.2 was not reported"):
        scores.at(2, 0.2)


def states_of(epoch: int) -> ValidationScores:
    """The scores of an epoch with two points of its path, on the images of `scores_of`."""
    two = scores_of(epoch, epoch)
    return ValidationScores(two.epochs, two.sets, np.array([0.5, 1.0]))


def test_epochs_that_were_added_are_read_as_one(tmp_path: Path) -> None:
    run, first, second = RunFolder(tmp_path), states_of(1), states_of(2)
    sealed = [add_epoch(run, "00001", one) for one in (first, second)]
    read = read_scores(run, "00001")
    assert_equal(read, first.followed_by(second))
    assert read.alphas.tolist() == [0.5, 1.0, 0.5, 1.0]
    files = sorted(run.epoch_scores("00001").iterdir())
    assert sealed == [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def test_epoch_that_is_added_leaves_the_earlier_ones_alone(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    add_epoch(run, "00001", states_of(1))
    (first,) = run.epoch_scores("00001").iterdir()
    then = first.stat()
    add_epoch(run, "00001", states_of(2))
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == (then.st_mtime_ns, then.st_ino)


def test_names_of_images_are_written_once_for_all_trials(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    add_epoch(run, "00001", states_of(1))
    add_epoch(run, "00002", states_of(1))
    (epoch,) = run.epoch_scores("00002").iterdir()
    with np.load(epoch) as file:
        assert not [name for name in file.files if name.endswith(("image", "group", "label"))]
    assert_equal(read_scores(run, "00002"), read_scores(run, "00001"))


def test_scores_of_other_images_are_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    add_epoch(run, "00001", states_of(1))
    other = RunFolder(tmp_path / "other")
    other_images = {VAL_ID: one_set(1, 7, 3)}
    add_epoch(other, "00001", ValidationScores(np.array([1], np.int32), other_images))
    run.score_images().write_bytes(other.score_images().read_bytes())
    with pytest.raises(ValueError, match="was not measured on the images"):
        read_scores(run, "00001")


def test_kept_part_has_files_of_its_own(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    add_epoch(run, "00001", states_of(1), kept=True)
    assert not has_scores(run, "00001")
    assert has_scores(run, "00001", kept=True)
    assert_equal(read_scores(run, "00001", kept=True), states_of(1))


def test_scores_of_an_older_run_that_goes_on_are_one(tmp_path: Path) -> None:
    run, whole = RunFolder(tmp_path), scores_of(1, 2, 3)
    whole.upto(2).save(run.trial_scores("00001"))
    assert_equal(read_scores(run, "00001"), whole.upto(2))
    add_epoch(run, "00001", whole.cut(whole.epochs == 3))
    assert_equal(read_scores(run, "00001"), whole)


def test_scores_that_are_not_what_was_sealed_are_refused_by_epoch(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    sealed = {epoch: add_epoch(run, "00001", states_of(epoch)) for epoch in (1, 2)}
    read_scores(run, "00001", sealed=sealed)
    add_epoch(run, "00001", ValidationScores(np.array([2], np.int32), scores_of(2).sets))
    with pytest.raises(ValueError, match=r"epoch_0002\.npz is not what the ledger"):
        read_scores(run, "00001", sealed=sealed)
    (run.epoch_scores("00001") / "epoch_0002.npz").unlink()
    with pytest.raises(ValueError, match=r"epoch_0002\.npz is missing"):
        read_scores(run, "00001", sealed=sealed)
