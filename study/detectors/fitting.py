"""Detectors on a study's data: fitted on the role train ID, and on no other."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from study.data.batches import evaluation_batches
from study.data.roles import TrainID
from study.detectors.model_parts import TrainFeatures, train_features

_BATCH_SIZE = 512


def features_of_train(model: nn.Module, train: TrainID, device: torch.device) -> TrainFeatures:
    """What ``model`` makes of the training images, without augmentation, in their order.

    Compute it once and hand it to ``fit_features`` of every detector.

    Args:
        model: with ``features`` and ``fc``, in evaluation mode, on ``device``.
        train: the role; validation and test images have other types.
        device: where the model is.

    Raises:
        ValueError: as `study.detectors.model_parts.train_features`.
    """
    return train_features(model, _labelled(train, device))


def _labelled(train: TrainID, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    labels = torch.as_tensor(train.images.labels, dtype=torch.int64)
    start = 0
    for images in evaluation_batches(train.images, _BATCH_SIZE, device, channels_last=True):
        yield images, labels[start : start + len(images)]
        start += len(images)
