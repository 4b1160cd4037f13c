from __future__ import annotations

import time

import numpy as np
import pytest

from study.data import demo
from study.errors import BadInput


@pytest.fixture(scope="module")
def sets():
    return {name: demo.demo_set(name) for name in demo.demo_names()}


def test_digits_are_those_of_scikit_learn(sets):
    from sklearn.datasets import load_digits

    known, images = load_digits(), sets["digits_test"]
    rows = [int(name.decode().removeprefix("digit/").removesuffix(".png")) for name in images.ids]
    expected = demo.enlarge(known.images[rows].astype(np.uint8))
    np.testing.assert_array_equal(images.pixels, expected)
    np.testing.assert_array_equal(images.labels, known.target[rows])


def test_sets_have_their_sizes_and_only_id_has_labels(sets):
    sizes = {name: len(images) for name, images in sets.items()}
    assert sizes == {
        "digits_train": 1437,
        "digits_test": 360,
        "drawn_outliers": 2000,
        "letters_val": 400,
        "textures_val": 400,
        "letters_test": 400,
        "textures_test": 400,
        "noise_test": 400,
    }
    assert set(sets["digits_train"].labels.tolist()) == set(range(10))
    assert set(sets["letters_val"].labels.tolist()) == {-1}
    assert {images.codec for images in sets.values()} == {"rendered"}


def test_no_picture_stands_twice_in_all_sets(sets):
    pictures = [p.tobytes() for images in sets.values() for p in images.pixels]
    assert len(set(pictures)) == len(pictures)


def test_roles_keep_their_distance_mirrored_too(sets):
    """Root mean square distance between OOD roles; two pens of one letter lie near 20."""

    def vectors(names, mirrored=False):
        grey = np.concatenate([sets[name].pixels[..., 0] for name in names]).astype(np.float32)
        return (grey[:, :, ::-1] if mirrored else grey).reshape(len(grey), -1)

    roles = [[demo.OUTLIERS], demo.OOD_VAL, demo.OOD_TEST]
    for index, first in enumerate(roles):
        for second in roles[index + 1 :]:
            for mirrored in (False, True):
                a, b = vectors(first), vectors(second, mirrored)
                squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
                assert np.sqrt(squares.min() / a.shape[1]) > 20


def test_every_set_takes_the_one_road_from_8x8_counts(sets):
    """Only such pictures are rebuilt, within rounding, from 8x8 counts of 0..16."""
    for images in sets.values():
        assert (np.ptp(images.pixels, axis=-1) == 0).all()
        counts = _counts_of(images.pixels[..., 0])
        assert counts.min() >= 0
        assert counts.max() <= 16
        np.testing.assert_array_equal(demo.enlarge(counts), images.pixels)


def _counts_of(grey):
    """The 8x8 counts of 0..16 behind enlarged pictures, by least squares."""
    step = np.zeros((8, 8, 8), np.uint8)
    step[np.arange(8), np.arange(8), :] = 16  # row k set: its first column holds the weights of k
    weights = demo.enlarge(step)[:, :, 0, 0].T / 255
    inverse = np.linalg.pinv(weights)
    return np.rint(inverse @ grey @ inverse.T * 16 / 255).astype(np.uint8)


def test_enlarge_is_linear_between_block_centres():
    counts = np.zeros((1, 8, 8), np.uint8)
    counts[0, :, 4:] = 16
    row = demo.enlarge(counts)[0, 0, :, 0]
    assert row[:14].max() == 0
    assert row[14:18].tolist() == [32, 96, 159, 223]
    assert row[18:].min() == 255


def test_block_counts_are_set_pixels_per_block():
    bitmap = np.zeros((1, 32, 32), dtype=bool)
    bitmap[0, :4, :4] = True
    bitmap[0, 31, 31] = True
    counts = demo.block_counts(bitmap)
    assert counts[0, 0, 0] == 16
    assert counts[0, 7, 7] == 1
    assert counts.sum() == 17


def test_sets_are_the_same_each_time_and_quick(sets):
    started = time.perf_counter()
    again = {name: demo.demo_set(name) for name in demo.demo_names()}
    assert time.perf_counter() - started < 4  # 0.5 s alone; the machine may be shared
    assert all(again[name].fingerprint == sets[name].fingerprint for name in sets)


def test_brightness_of_letters_is_near_that_of_digits(sets):
    digits = sets["digits_train"].pixels.mean()
    for name in ("drawn_outliers", "letters_val", "letters_test"):
        assert abs(sets[name].pixels.mean() - digits) < 30


def test_unknown_set_is_bad_input():
    with pytest.raises(BadInput, match="no demo set 'cats'"):
        demo.demo_set("cats")
