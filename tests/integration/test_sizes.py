"""Every backbone trains on images of every usual size, and the data's rules scale with them.

An epoch of one trial on a handful of images; the whole matrix is slow, a few of it are not.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from study.data.images import ImageSet
from study.data.leaks.near_duplicates import Likeness, find_near_duplicates
from study.data.roles import OODValidation, Outliers, StudyData, TrainID, ValidationID
from study.data.synthetic import VALIDATION_NAMES, make_synthetic
from study.models.names import BACKBONE_NAMES, size_fault
from study.records.files import RunFolder
from study.training.assignment import Assignment
from study.training.loop import Goal
from study.training.starting import Starting
from study.training.trial import TrialSetting, run_trial
from tests.pictures import photographs

SIZES = (28, 32, 64, 96, 224)
RECIPES: dict[str, dict[str, Any]] = {
    "energy": {"m_in": -4.0, "m_out": -1.0, "outlier_batch_size": 1, "augment": "crop_flip"},
    "nordf": {"augment": "resized_crop_flip", "rotation": 30, "perceptual_network": None},
}
TOO_WIDE = {"wrn_28_10"}  # above 64 pixels: minutes and gigabytes on a CPU
QUICK = {("energy", 28, "resnet20"), ("energy", 96, "convnextv2_atto"), ("nordf", 64, "resnet20")}
MATRIX = [
    pytest.param(*one, marks=() if one in QUICK else (pytest.mark.slow,))
    for one in [
        (recipe, size, name) for recipe in RECIPES for size in SIZES for name in BACKBONE_NAMES
    ]
]


def _data(size: int) -> StudyData:
    def images(name: str, number: int, classes: int = 0) -> ImageSet:
        labels = np.arange(number) % classes if classes else None
        return ImageSet.make(name, photographs(number, len(name), size), labels=labels)

    return StudyData(
        TrainID(images("train", 4, 2)),
        ValidationID(images("val", 4, 2)),
        Outliers(images("outliers", 4)),
        OODValidation({"far": images("far_off", 4)}),
        num_classes=2,
        demo=False,
    )


@pytest.mark.parametrize(("recipe", "size", "backbone"), MATRIX)
def test_trial_of_an_epoch_at_every_size_and_backbone_ends_with_numbers(
    recipe: str, size: int, backbone: str, tmp_path: Path
) -> None:
    if backbone in TOO_WIDE and size > 64:
        pytest.skip("minutes and gigabytes on a CPU")
    if fault := size_fault(backbone, size, maps=recipe == "nordf"):
        assert "must be" in fault
        return
    RunFolder(tmp_path).manifest.touch()
    train = {"epochs": 1, "lr": 1e-3, "batch_size": 2, **RECIPES[recipe]}
    assignment = Assignment(0, 0, {"backbone": backbone, "dropout": 0.0}, train)
    setting = TrialSetting(
        recipe=recipe,
        data=_data(size),
        starting=Starting(),
        run=tmp_path,
        goal=Goal("val/fpr95", None),
        checkpoint_rule="best",
        threads=torch.get_num_threads(),
        device="cpu",
    )
    (told,) = [json.loads(message) for message in run_trial(assignment, setting)]
    assert "failed" not in told, told["failed"]
    assert all(math.isfinite(value) for value in told["metrics"].values())


@pytest.mark.parametrize("size", SIZES)
def test_copies_are_found_at_every_size(size: int) -> None:
    originals = photographs(60, 0, size)
    moved = np.roll(originals[:30, :, ::-1], size // 32, axis=1)
    darker = (moved * 0.9).astype(np.uint8)
    pairs = find_near_duplicates(
        np.concatenate([darker, photographs(30, 1, size)]), originals, Likeness()
    )
    assert pairs.first.tolist() == pairs.second.tolist()
    assert len(pairs) >= 28


@pytest.mark.parametrize("size", SIZES)
def test_synthetic_sets_of_every_size_are_no_copies_of_their_source(size: int) -> None:
    source = ImageSet.make("val", photographs(12, 0, size), labels=np.arange(12) % 2)
    for name in VALIDATION_NAMES:
        made = make_synthetic(name, source, 0, 12)
        assert made.pixels.shape == (12, size, size, 3)
        assert not (made.pixels == source.pixels).all(axis=(1, 2, 3)).any(), name
        assert made.pixels.std() > 1, name
