from __future__ import annotations

import numpy as np
import pytest

from study.data.class_names import checked_ood_set, count_id_classes, id_classes_among
from study.data.images import ImageSet
from study.errors import BadInput
from tests.fake_data import noise

_VEHICLES = ("airplane", "automobile", "ship", "truck")
CIFAR10 = (*_VEHICLES, "bird", "cat", "deer", "dog", "frog", "horse")


def _outliers(classes):
    return ImageSet.make("things", noise(6, size=8), labels=np.arange(6) % 3, classes=classes)


@pytest.mark.parametrize(
    ("name", "id_class"),
    [
        ("cat", "cat"),
        ("Cars", "automobile"),
        ("n02958343_sports_car", "automobile"),
        ("plane", "airplane"),
        ("aeroplane", "airplane"),
        ("golden retriever", "dog"),
        ("tree-frog", "frog"),
        ("container ship, containership", "ship"),
        ("lorry", "truck"),
    ],
)
def test_synonyms_of_id_classes_are_found(name, id_class):
    assert id_classes_among(CIFAR10, [name]) == {0: id_class}


@pytest.mark.parametrize(
    "name", ["catfish", "hot dog", "pickup_truck", "house number 3", "carpet", "bus", "cable_car"]
)
def test_names_that_only_sound_alike_are_not(name):
    assert id_classes_among(CIFAR10, [name]) == {}


def test_counts_leave_out_classes_without_images():
    images = _outliers(("car", "milk can", "kitten")).take([0, 1, 3])
    assert count_id_classes(CIFAR10, images) == {"car": ("automobile", 2)}


def test_refuse_names_set_classes_and_way_out():
    told = r"data.outliers: 'things' holds ID classes: 'car' \(ID class 'automobile', 2 images\)"
    with pytest.raises(BadInput, match=told + r"\. Set data.outlier_id_classes: filter"):
        checked_ood_set(_outliers(("car", "cup", "tub")), CIFAR10, "data.outliers", "refuse")


def test_filter_leaves_the_images_out_and_says_so():
    images = _outliers(("car", "cup", "tub"))
    kept, note = checked_ood_set(images, CIFAR10, "data.outliers", "filter")
    assert kept.labels.tolist() == [1, 2, 1, 2]
    assert note is not None
    assert "left out of 'things': 'car'" in note


def test_filter_of_everything_is_refused_and_unlabelled_sets_pass():
    with pytest.raises(BadInput, match="nothing but ID classes"):
        checked_ood_set(_outliers(("car", "cat", "dog")), CIFAR10, "data.ood_val", "filter")
    unlabelled = ImageSet.make("x", noise(2))
    assert checked_ood_set(unlabelled, CIFAR10, "data.outliers", "refuse") == (unlabelled, None)
