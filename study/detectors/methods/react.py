"""Rectified activations."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from study.detectors.base import FittedDetector, State, pytorch_ood
from study.detectors.model_parts import Head, TrainFeatures

DETECTOR: Final = {
    "requires": ["pytorch_ood"],
    "needs": ["features"],
    "fitted": True,
    "source": "Sun et al. 2021, arXiv:2111.12797",
    "parameters": {
        "quantile": {
            "default": 0.9,
            "gt": 0,
            "le": 1,
            "meaning": "of train features, where they are clipped",
        }
    },
}


class Method(FittedDetector):
    """Energy of the head on features that are clipped at a quantile of train ID's.

    On the pooled features, the penultimate layer, as the paper has it.
    """

    tensors = ("threshold",)

    def _fit(self, head: Head, train: TrainFeatures) -> State:
        inner = pytorch_ood().ReAct(None, head, percentile=self.params["quantile"])
        inner.fit_feature_maps(train.features, train.labels)
        return {"threshold": torch.tensor(inner.threshold, dtype=torch.float64)}

    def _restore(self, state: State, head: Head) -> Any:
        return pytorch_ood().ReAct(None, head, threshold=state["threshold"].item())

    def _predict(self, inner: Any, features: Tensor) -> Tensor:
        scores: Tensor = inner.predict_feature_maps(features.double())
        return scores
