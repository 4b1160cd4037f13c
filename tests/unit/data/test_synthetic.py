from __future__ import annotations

import numpy as np
import pytest

from study.data.images import ImageSet
from study.data.synthetic import SYNTHETIC_NAMES, VALIDATION_NAMES, make_synthetic
from study.errors import BadInput
from tests.fake_data import noise

ID_IMAGES = ImageSet.make("val_id", noise(12), labels=np.arange(12) % 3)


@pytest.mark.parametrize("name", SYNTHETIC_NAMES)
def test_every_set_is_seeded_unlabelled_and_unlike_its_images(name):
    first, again, other = (make_synthetic(name, ID_IMAGES, seed, 10) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.name == name
    assert first.pixels.shape == (10, 32, 32, 3)
    assert set(first.labels.tolist()) == {-1}
    copies = {picture.tobytes() for picture in ID_IMAGES.pixels}
    assert not copies & {picture.tobytes() for picture in first.pixels}


def test_sets_made_from_images_name_them_as_groups_and_use_each_once():
    made = make_synthetic("invert", ID_IMAGES, 0, 100)
    assert sorted(made.groups.tolist()) == ID_IMAGES.ids.tolist()
    assert make_synthetic("uniform", ID_IMAGES, 0, 100).num_groups == 100


def _base(made: ImageSet) -> np.ndarray:
    rows = [ID_IMAGES.ids.tolist().index(group) for group in made.groups.tolist()]
    return ID_IMAGES.pixels[rows]


def test_invert_keeps_red_and_inverts_the_rest():
    made = make_synthetic("invert", ID_IMAGES, 0, 5)
    base = _base(made)
    np.testing.assert_array_equal(made.pixels[..., 0], base[..., 0])
    np.testing.assert_array_equal(made.pixels[..., 1:], 255 - base[..., 1:])


def test_rgb_ghost_moves_channels_and_mirrors_the_first():
    made = make_synthetic("rgb_ghost", ID_IMAGES, 0, 5)
    base = _base(made)
    np.testing.assert_array_equal(made.pixels[..., 0], base[:, :, ::-1, 1])
    np.testing.assert_array_equal(made.pixels[..., 1:], base[..., [2, 0]])


def test_jigsaw_moves_pixels_without_changing_one():
    made = make_synthetic("jigsaw", ID_IMAGES, 0, 5)
    base = _base(made)
    for piece, picture in zip(made.pixels, base, strict=True):
        np.testing.assert_array_equal(np.sort(piece, axis=None), np.sort(picture, axis=None))
    np.testing.assert_array_equal(made.pixels[:, :8, :16], base[:, 8:16, :16])
    np.testing.assert_array_equal(made.pixels[:, :16, 16:], base[:, 16:, :16])
    np.testing.assert_array_equal(made.pixels[:, 16:, :16], base[:, 16:, 16:])
    np.testing.assert_array_equal(made.pixels[:, 16:, 16:24], base[:, :16, 24:])


def test_means_lie_between_two_different_images():
    pair = ImageSet.make("two", np.stack([np.full((8, 8, 3), v, np.uint8) for v in (40, 160)]))
    assert np.unique(make_synthetic("arithmetic_mean", pair, 0, 2).pixels).tolist() == [100]
    assert np.unique(make_synthetic("geometric_mean", pair, 0, 2).pixels).tolist() == [80]


def test_pixelate_leaves_six_blocks_a_side_and_noise_has_its_law():
    made = make_synthetic("pixelate", ID_IMAGES, 0, 1).pixels[0]
    assert len(np.unique(made.reshape(32, -1), axis=0)) == 6
    assert set(np.unique(make_synthetic("rademacher", ID_IMAGES, 0, 4).pixels)) == {0, 255}
    gaussian = make_synthetic("gaussian", ID_IMAGES, 0, 50).pixels / 255
    assert abs(gaussian.mean() - 0.5) < 0.01
    assert abs(gaussian.std() - 0.24) < 0.01  # 0.25 less what the clipping takes


@pytest.mark.parametrize("size", [28, 33, 64, 96])
def test_sets_of_every_size_have_the_size_and_blobs_in_them(size):
    images = ImageSet.make("id", noise(4, size=size))
    for name in SYNTHETIC_NAMES:
        made = make_synthetic(name, images, 0, 3)
        assert made.pixels.shape == (3, size, size, 3)
    lit = (make_synthetic("blob", images, 0, 3).pixels > 0).mean()
    assert 0.2 < lit < 0.5  # as at 32 pixels: 0.31


def test_unknown_names_and_impossible_numbers_are_bad_input():
    with pytest.raises(BadInput, match="no synthetic set 'plaid'"):
        make_synthetic("plaid", ID_IMAGES, 0, 4)
    with pytest.raises(BadInput, match="at least one image"):
        make_synthetic("uniform", ID_IMAGES, 0, 0)
    with pytest.raises(BadInput, match="two validation images"):
        make_synthetic("arithmetic_mean", ID_IMAGES.take([0]), 0, 1)


def test_validation_names_are_the_eight_of_outlier_exposure():
    assert len(VALIDATION_NAMES) == 8
    assert set(VALIDATION_NAMES) < set(SYNTHETIC_NAMES)
