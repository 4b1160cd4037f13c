"""Free energy."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from study.detectors.base import Detector, pytorch_ood
from study.detectors.model_parts import logits_of

DETECTOR: Final = {
    "requires": ["pytorch_ood"],
    "needs": ["logits"],
    "source": "Liu et al. 2020, arXiv:2010.03759",
    "parameters": {
        "temperature": {"default": 1.0, "gt": 0, "meaning": "divides the logits, dimensionless"}
    },
}


class Method(Detector):
    """-T logsumexp(f / T); equal to `study.scoring.scores.energy`."""

    def _score(self, model: nn.Module, images: Tensor) -> Tensor:
        scores: Tensor = pytorch_ood().EnergyBased.score(
            logits_of(model, images), t=self.params["temperature"]
        )
        return scores
