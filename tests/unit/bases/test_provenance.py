from __future__ import annotations

from study.bases.provenance import overlaps

SETS = {
    "train": "cifar10/cifar10/train.parquet",
    "ood_val/objects": "objects/imagenet/objects_val.parquet",
    "test/textures": "ood_test/textures.parquet",
}


def test_overlaps_source_in_name_or_path_marks_the_set() -> None:
    told = overlaps(["ImageNet", "CIFAR-10"], SETS)
    assert told == {"train": ["CIFAR-10"], "ood_val/objects": ["ImageNet"]}


def test_overlaps_role_by_its_name_marks_it() -> None:
    assert overlaps(["test/textures"], SETS) == {"test/textures": ["test/textures"]}


def test_overlaps_source_of_no_set_marks_nothing() -> None:
    assert overlaps(["places365"], SETS) == {}
