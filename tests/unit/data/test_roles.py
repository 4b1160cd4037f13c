from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from study.data.roles import OODValidation, Outliers, StudyData, split_validation
from study.errors import BadInput
from tests.fake_data import image_set


def _study(**changes):
    train, val_id = split_validation(image_set(20), 0.2, 0)
    outliers = Outliers(image_set(3, groups=["s", "s", "t"]))
    data = StudyData(train, val_id, outliers, OODValidation({"far": image_set(4)}), 2, False)
    return dataclasses.replace(data, **changes)


def test_split_is_stratified_disjoint_complete_and_in_order():
    images = image_set(60, num_classes=3)
    train, val_id = split_validation(images, 0.1, seed=0)
    assert np.bincount(val_id.images.labels).tolist() == [2, 2, 2]
    ids = [*train.images.ids.tolist(), *val_id.images.ids.tolist()]
    assert sorted(ids) == images.ids.tolist()
    assert train.images.ids.tolist() == sorted(train.images.ids.tolist())


def test_split_depends_on_the_seed_alone():
    images = image_set(60)
    first, again, other = (split_validation(images, 0.5, seed)[1].images for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_split_moves_whole_source_groups():
    groups = [f"source_{row // 4}" for row in range(40)]
    labels = np.arange(40) // 4 % 2
    train, val_id = split_validation(image_set(40, labels=labels, groups=groups), 0.4, 0)
    assert not set(train.images.groups.tolist()) & set(val_id.images.groups.tolist())
    assert np.bincount(val_id.images.labels).tolist() == [8, 8]


def test_split_leaves_every_class_on_both_sides():
    train, val_id = split_validation(image_set(4), 0.01, 0)
    assert set(train.images.labels.tolist()) == set(val_id.images.labels.tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("images", "fraction", "told"),
    [
        (image_set(4), 0.0, "between 0 and 1"),
        (image_set(4), 1.0, "between 0 and 1"),
        (image_set(4, labels=[0, 1, -1, 0]), 0.5, "without a label"),
        (image_set(3, classes=("cat", "dog")), 0.5, "class 'dog' of 'toy' has a single source"),
    ],
)
def test_split_of_unfit_images_is_bad_input(images, fraction, told):
    with pytest.raises(BadInput, match=told):
        split_validation(images, fraction, 0)


def test_study_data_names_no_test_role():
    names = {field.name for field in dataclasses.fields(StudyData)}
    told = {"num_classes", "demo", "notes"}
    assert names == {"train", "val_id", "outliers", "ood_val", "kept"} | told
    assert not any("test" in name for name in dir(StudyData) if not name.startswith("_"))


def test_fingerprints_tell_sets_by_role():
    facts = _study().fingerprints()
    assert list(facts) == ["train", "val_id", "outliers", "ood_val/far"]
    assert facts["outliers"]["num_images"] == 3
    assert facts["outliers"]["num_groups"] == 2
    assert len(facts["train"]["fingerprint"]) == 64


def test_fingerprint_follows_content_and_role():
    data = _study()
    assert data.fingerprint == _study().fingerprint
    without = _study(outliers=None)
    renamed = _study(ood_val=OODValidation({"near": image_set(4)}))
    assert len({data.fingerprint, without.fingerprint, renamed.fingerprint}) == 3
