"""Directed sparsification."""

from __future__ import annotations

from typing import Any, Final

from study.detectors.base import FittedDetector, State, pytorch_ood
from study.detectors.model_parts import Head, TrainFeatures

DETECTOR: Final = {
    "requires": ["pytorch_ood"],
    "needs": ["features"],
    "fitted": True,
    "source": "Sun and Li 2022, arXiv:2111.09805",
    "parameters": {
        "sparsity": {
            "default": 0.9,  # as in OpenOOD v1.5
            "ge": 0,
            "lt": 1,
            "meaning": "share of the head's weights left out",
        }
    },
}


class Method(FittedDetector):
    """Energy of a head that keeps only the weights that contribute most on train ID.

    OpenOOD leaves out 90 %; the paper chooses the share on validation. On plain classifiers of
    CIFAR-10 it is behind MSP.
    """

    tensors = ("masked_weight",)

    def _fit(self, head: Head, train: TrainFeatures) -> State:
        inner = self._new(head)
        inner.fit_features(train.features, train.labels)
        return {"masked_weight": inner.masked_w.double()}

    def _restore(self, state: State, head: Head) -> Any:
        inner = self._new(head)
        inner.masked_w = state["masked_weight"]
        return inner

    def _new(self, head: Head) -> Any:
        return pytorch_ood().DICE(None, w=head.weight, b=head.bias, p=self.params["sparsity"])
