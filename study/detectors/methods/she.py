"""Simplified Hopfield energy."""

from __future__ import annotations

from typing import Any, Final

from study.detectors.base import FittedDetector, State, pytorch_ood
from study.detectors.model_parts import Head, TrainFeatures

DETECTOR: Final = {
    "requires": ["pytorch_ood"],
    "needs": ["features"],
    "fitted": True,
    "source": "Zhang et al. 2023 (SHE), ICLR 2023",
}


class Method(FittedDetector):
    """Inner product with the mean features of the predicted class's correct train ID images."""

    tensors = ("patterns",)
    every_class = True

    def _fit(self, head: Head, train: TrainFeatures) -> State:
        features = train.features.double()
        correct = head(features).argmax(dim=1) == train.labels
        told = set(train.labels[correct].tolist())
        if untold := sorted(set(range(len(head.weight))) - told):
            raise ValueError(
                f"{self.name}: no train ID image of classes {untold} is classified correctly, so "
                "they have no pattern; train the model first"
            )
        inner = pytorch_ood().SHE(None, head)
        inner.fit_features(features, train.labels)
        return {"patterns": inner.patterns}

    def _restore(self, state: State, head: Head) -> Any:
        inner = pytorch_ood().SHE(None, head)
        inner.patterns = state["patterns"]
        return inner
