"""k-th nearest neighbour."""

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
    "head": False,
    "source": "Sun et al. 2022, ICML 2022 (arXiv:2204.06507)",
    "parameters": {
        "k": {
            "default": 50,
            "ge": 1,
            "below": "num_train",
            "meaning": "the neighbour whose distance counts",
        }
    },
}


class Method(FittedDetector):
    """Distance to the k-th nearest train ID image, features scaled to unit length.

    The state is the features of all train ID images in float32 (4 N D bytes); the neighbour
    index is built from them again, deterministically.
    """

    tensors = ("features",)

    def _fit(self, head: Head, train: TrainFeatures) -> State:
        del head
        return {"features": train.features}

    def _restore(self, state: State, head: Head) -> Any:
        del head
        features = state["features"]
        inner = pytorch_ood().KNN(None, k=self.params["k"])
        # It would take every core of the machine, which trials share.
        inner.knn.set_params(n_jobs=1)
        return inner.fit_features(features, torch.zeros(len(features), dtype=torch.int64))

    def _predict(self, inner: Any, features: Tensor) -> Tensor:
        scores: Tensor = inner.predict_features(features.float())
        return scores
