"""An epoch of linear fine-tuning beside one of full fine-tuning.

    python benchmarks/linear.py --data-root ../shared/data

Claim: linear fine-tuning on cached features is at least 20 times faster per epoch than full
fine-tuning, validation included in both. The same recipe (energy, a ResNet-20, 128 ID images and
64 outliers a batch), the same data, one process, the epochs of ``study.training.loop.train``: the
metric time_s, which times training and validation.

The features are computed once for all trials of a machine that share base, data and augmentation;
what that costs is a row of its own, with the number of views that it was for. It is not part of an
epoch. The full epoch is measured over part of the batches and scaled up, its validation in whole.
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

import torch
from common import Spread, options, print_table, say_how, study_data, verdict
from torch import nn

from study.data.roles import StudyData
from study.models.registry import build_classifier
from study.recipes.frozen_features import Frozen
from study.recipes.registry import make_recipe
from study.training.loop import Goal, train

TARGET = 20.0
ROUNDS, FULL_STEPS = 3, 20
ID_IMAGES, OUTLIER_IMAGES, VIEWS = 128, 64, 4
CPU = torch.device("cpu")


def new_model() -> nn.Module:
    """A ResNet-20 with fresh weights, the same each time."""
    return build_classifier("resnet20", 10, seed=0)


def epoch_seconds(data: StudyData, num_images: int, **changes: Any) -> tuple[float, float]:
    """Seconds of one epoch's training, and of its validation."""
    sizes = {"batch_size": ID_IMAGES, "outlier_batch_size": OUTLIER_IMAGES}
    margins = {"m_in": -9.0, "m_out": -5.0}
    section = {**sizes, **margins, "epochs": 1, "epoch_images": num_images, **changes}
    recipe, goal = make_recipe("energy", section), Goal("val/fpr95", None)
    (result,) = train(recipe, new_model(), data, seed=0, goal=goal, device=CPU)
    metrics = result.metrics
    steps = -(-num_images // ID_IMAGES)
    training = (num_images + steps * OUTLIER_IMAGES) / metrics["images_per_s"]
    return training, metrics["time_s"] - training


def features_seconds(data: StudyData) -> float:
    """Seconds to compute the features of all roles."""
    model = new_model().to(memory_format=torch.channels_last)
    frozen = Frozen(model, CPU)
    begun = time.perf_counter()
    for images in (data.train.images, data.outliers.images if data.outliers else None):
        if images is not None:
            frozen.features(images, "crop_flip", VIEWS)
    for images in (data.val_id.images, *data.ood_val.sets.values()):
        frozen.features(images, "none", 1)
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, data=True)
    parser.add_argument("--threads", type=int, default=1, help="a trial's threads (default 1)")
    given = parser.parse_args()
    rounds = given.rounds or (1 if given.quick else ROUNDS)
    torch.set_num_threads(given.threads)
    data = study_data(given.data_root, share=0.02 if given.quick else 1.0)
    num_images = len(data.train.images)
    part = min((2 if given.quick else FULL_STEPS) * ID_IMAGES, num_images)
    kind = "real images" if given.data_root else "random pixels"
    say_how(
        ["torch", "numpy"],
        f"{given.threads} thread(s), {rounds} rounds; an epoch is {num_images:,} ID images "
        f"({ID_IMAGES} + {OUTLIER_IMAGES} outliers a batch), {VIEWS} views, {kind}",
    )
    full, linear = [], []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["OOD_STUDY_CACHE"] = cache
        features = features_seconds(data)
        linear_settings = {"fine_tune": "linear", "feature_views": VIEWS}
        for _ in range(rounds):
            training, validation = epoch_seconds(data, part)
            full.append(training * num_images / part + validation)
            linear.append(sum(epoch_seconds(data, num_images, **linear_settings)))
    ratios = [slow / quick for slow, quick in zip(full, linear, strict=True)]
    print_table(
        [
            ["", "seconds"],
            ["full, an epoch", Spread(full).text(1)],
            ["linear, an epoch", Spread(linear).text(2)],
            [f"features, once ({VIEWS} views)", f"{features:.1f}"],
            ["full / linear", Spread(ratios).text(0)],
        ]
    )
    median = Spread(ratios).median
    if not given.quick:
        print(f"\n{median:.0f} times as fast, target {TARGET:.0f}: {verdict(median >= TARGET)}")


if __name__ == "__main__":
    main()
