from __future__ import annotations

import pickle

import numpy as np
import pytest

from study.data.images import ImageSet, concatenate, fingerprint_of
from study.errors import BadInput
from tests.fake_data import image_set, noise


def test_make_without_columns_numbers_rows_and_has_no_labels():
    images = ImageSet.make("toy", noise(3))
    assert images.labels.tolist() == [-1, -1, -1]
    assert images.ids.tolist() == [b"000000", b"000001", b"000002"]
    assert images.groups.tolist() == images.ids.tolist()
    assert len(images) == images.num_groups == 3


def test_fingerprint_changes_with_pixels_labels_and_shape():
    pixels, labels = noise(2), np.array([0, 1])
    base = fingerprint_of(pixels, labels)
    changed = pixels.copy()
    changed[1, 0, 0, 0] ^= 1
    others = {
        fingerprint_of(changed, labels),
        fingerprint_of(pixels, labels[::-1]),
        fingerprint_of(pixels.reshape(2, 16, 64, 3), labels),
    }
    assert base not in others
    assert len(others) == 3
    assert fingerprint_of(pixels.copy(), labels.astype(np.int32)) == base


def test_take_keeps_what_is_known_of_each_image():
    images = image_set(4, groups=["a", "a", "b", "b"], classes=("x", "y"))
    taken = images.take([3, 1], "part")
    assert taken.name == "part"
    assert taken.ids.tolist() == [b"000003", b"000001"]
    assert taken.groups.tolist() == [b"b", b"a"]
    assert taken.labels.tolist() == [1, 1]
    assert taken.classes == ("x", "y")
    np.testing.assert_array_equal(taken.pixels, images.pixels[[3, 1]])


def test_take_accepts_a_mask_and_refuses_nothing():
    images = image_set(4)
    assert len(images.take(images.labels == 1)) == 2
    with pytest.raises(BadInput, match="holds no image"):
        images.take([])


def test_pickle_moves_arrays_out_of_band_and_reads_read_only_ones():
    images = image_set(64)
    buffers: list[pickle.PickleBuffer] = []
    in_band = pickle.dumps(images, protocol=5, buffer_callback=buffers.append)
    assert len(in_band) < 2000
    frozen = [bytes(buffer.raw()) for buffer in buffers]
    back = pickle.loads(in_band, buffers=frozen)
    assert not back.pixels.flags.writeable
    assert back.take([1]).fingerprint == images.take([1]).fingerprint


@pytest.mark.parametrize(
    ("pixels", "changes", "told"),
    [
        (noise(2).astype(np.float32), {}, "must be uint8 RGB"),
        (noise(2)[..., 0], {}, "must be uint8 RGB"),
        (noise(2)[:0], {}, "holds no image"),
        (noise(2), {"labels": [0]}, r"labels: has shape \(1,\) for 2 images"),
        (noise(2), {"labels": [0, 2], "classes": ("a", "b")}, r"must lie in -1 \.\. 1"),
        (
            noise(2),
            {"labels": [0, -2]},
            r"must lie in -1 \(no label\), 0, 1 \.\.\., got -2 \.\. 0",
        ),
        (noise(2), {"labels": [0, 20_260_101]}, "labels: number classes from 0 on.* 20260101"),
        (noise(2), {"labels": [0.0, 1.0]}, "must be integers"),
        (
            noise(2),
            {"classes": ("caf\u00e9", "cafe\u0301")},
            "classes: there are two classes 'caf",
        ),
        (noise(2), {"ids": ["a", "a"]}, "must be unique"),
    ],
)
def test_make_with_unfit_arrays_is_bad_input(pixels, changes, told):
    with pytest.raises(BadInput, match=told):
        ImageSet.make("toy", pixels, **changes)


def test_concatenate_prefixes_names_and_forgets_labels():
    first = ImageSet.make("a", noise(2), labels=[0, 1], codec="jpeg")
    second = ImageSet.make("b", noise(2, seed=1), ids=["x", "y"], groups=["g", "g"])
    both = concatenate("union", [first, second])
    assert both.ids.tolist() == [b"a/000000", b"a/000001", b"b/x", b"b/y"]
    assert both.groups.tolist() == [b"a/000000", b"a/000001", b"b/g", b"b/g"]
    assert set(both.labels.tolist()) == {-1}
    assert both.codec == "mixed"


def test_concatenate_of_one_set_keeps_its_rows_and_sizes_must_agree():
    only = image_set(3)
    assert concatenate("union", [only]) is only
    with pytest.raises(BadInput, match="one image size"):
        concatenate("union", [only, ImageSet.make("big", noise(1))])
