"""Relative Mahalanobis distance."""

from __future__ import annotations

from typing import Any, Final

from study.detectors.base import State, pytorch_ood
from study.detectors.methods.mahalanobis import Method as Mahalanobis
from study.detectors.methods.mahalanobis import precision
from study.detectors.model_parts import Head, TrainFeatures

DETECTOR: Final = {
    "requires": ["pytorch_ood"],
    "needs": ["features"],
    "fitted": True,
    "head": False,
    "covariance": True,
    "source": "Ren et al. 2021, arXiv:2106.09022",
}


class Method(Mahalanobis):
    """Mahalanobis distance to the nearest class less that to all of train ID; see there."""

    tensors = ("means", "precision", "background_mean", "background_precision")

    def _fit(self, head: Head, train: TrainFeatures) -> State:
        features = train.features.double()
        mean = features.mean(dim=0)
        return {
            **super()._fit(head, train),
            "background_mean": mean,
            "background_precision": precision(features - mean),
        }

    def _restore(self, state: State, head: Head) -> Any:
        del head
        inner = pytorch_ood().RMD(None)
        inner.mu, inner.precision = state["means"], state["precision"]
        inner.background_mu = state["background_mean"]
        inner.background_precision = state["background_precision"]
        return inner
