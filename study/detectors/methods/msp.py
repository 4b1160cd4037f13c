"""Maximum softmax probability."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from study.detectors.base import Detector, pytorch_ood
from study.detectors.model_parts import logits_of

DETECTOR: Final = {
    "requires": ["pytorch_ood"],
    "needs": ["logits"],
    "source": "Hendrycks and Gimpel 2017, arXiv:1610.02136",
    "parameters": {
        "temperature": {"default": 1.0, "gt": 0, "meaning": "divides the logits, dimensionless"}
    },
}


class Method(Detector):
    """-max_k p_k at a temperature; the order of `study.scoring.scores.msp` at 1.

    But for ties: from a lead of some 36 nats on (times the temperature) p is 1 in float64 too.
    """

    def _score(self, model: nn.Module, images: Tensor) -> Tensor:
        scores: Tensor = pytorch_ood().MaxSoftmax.score(
            logits_of(model, images), t=self.params["temperature"]
        )
        return scores
