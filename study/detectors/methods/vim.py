"""Virtual-logit matching."""

from __future__ import annotations

import math
from typing import Any, Final

import torch

from study.detectors.base import FittedDetector, State, pytorch_ood
from study.detectors.model_parts import Head, TrainFeatures

DETECTOR: Final = {
    "requires": ["pytorch_ood"],
    "needs": ["features"],
    "fitted": True,
    "least_features": 2,
    "source": "Wang et al. 2022, arXiv:2203.10807",
    "parameters": {
        "dimension": {
            "default": None,
            "type": "int",
            "ge": 1,
            "null": "half of the features",
            "below": "num_features",
            "why": "what is left over is the score",
            "meaning": "of the principal subspace",
        }
    },
}


class Method(FittedDetector):
    """Scaled length of what the principal subspace leaves over, plus the energy; in float32."""

    tensors = ("origin", "residual_space", "scale")

    def _fit(self, head: Head, train: TrainFeatures) -> State:
        width = head.weight.shape[1]
        inner = self._new(head, self.params["dimension"] or width // 2)
        inner.fit_features(train.features, train.labels)
        if not math.isfinite(inner.alpha):
            raise ValueError(
                f"{self.name}: {inner.d} dimensions hold all of the train features' variance; "
                "take a smaller dimension"
            )
        return {
            "origin": inner.u,
            "residual_space": inner.principal_subspace,
            "scale": torch.tensor(inner.alpha, dtype=torch.float64),
        }

    def _restore(self, state: State, head: Head) -> Any:
        width, left = state["residual_space"].shape
        inner = self._new(head, width - left)
        inner.u, inner.principal_subspace = state["origin"], state["residual_space"]
        inner.alpha = state["scale"].item()
        return inner

    def _new(self, head: Head, dimension: int) -> Any:
        return pytorch_ood().ViM(None, d=dimension, w=head.weight, b=head.bias)
