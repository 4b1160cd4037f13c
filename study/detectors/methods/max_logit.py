"""Maximum logit."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from study.detectors.base import Detector, pytorch_ood
from study.detectors.model_parts import logits_of

DETECTOR: Final = {
    "requires": ["pytorch_ood"],
    "needs": ["logits"],
    "source": "Hendrycks et al. 2022, arXiv:1911.11132",
}


class Method(Detector):
    """-max_k f_k; equal to `study.scoring.scores.max_logit`."""

    def _score(self, model: nn.Module, images: Tensor) -> Tensor:
        scores: Tensor = pytorch_ood().MaxLogit.score(logits_of(model, images))
        return scores
