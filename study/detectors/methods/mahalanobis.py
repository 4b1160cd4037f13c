"""Mahalanobis distance."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from study.detectors.base import FittedDetector, State, pytorch_ood
from study.detectors.model_parts import Head, TrainFeatures

DETECTOR: Final = {
    "requires": ["pytorch_ood"],
    "needs": ["features"],
    "fitted": True,
    "head": False,
    "covariance": True,
    "source": "Lee et al. 2018, arXiv:1807.03888",
}

# pytorch-ood's own; it keeps a covariance invertible where a feature is dead.
_RIDGE = 1e-6


def precision(centred: Tensor) -> Tensor:
    """Inverse of the scatter matrix (not divided by N, as pytorch-ood has it) plus the ridge."""
    scatter = centred.T @ centred
    scatter.diagonal().add_(_RIDGE)
    inverse: Tensor = torch.linalg.inv(scatter)
    return inverse


class Method(FittedDetector):
    """Half the squared Mahalanobis distance to the nearest class, one covariance for all.

    Fitted here in float64 by pytorch-ood's formula: its float32 matrices lose the inverse where
    features are nearly collinear. Scored by pytorch-ood.
    """

    tensors: ClassVar[tuple[str, ...]] = ("means", "precision")
    every_class = True

    def _fit(self, head: Head, train: TrainFeatures) -> State:
        features, num_classes = train.features.double(), len(head.weight)
        means = torch.stack([features[train.labels == k].mean(dim=0) for k in range(num_classes)])
        return {"means": means, "precision": precision(features - means[train.labels])}

    def _restore(self, state: State, head: Head) -> Any:
        del head
        inner = pytorch_ood().Mahalanobis(None)
        inner.mu, inner.precision = state["means"], state["precision"]
        return inner
