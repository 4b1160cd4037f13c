"""Generalised entropy."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from study.detectors.base import Detector
from study.detectors.catalog import check_sizes
from study.detectors.model_parts import logits_of

DETECTOR: Final = {
    "needs": ["logits"],
    "source": "Liu et al. 2023 (GEN), CVPR 2023",
    "parameters": {
        "gamma": {"default": 0.1, "gt": 0, "meaning": "power of p (1 - p)"},
        "top": {
            "default": None,
            "type": "int",
            "ge": 1,
            "null": "all classes",
            "at_most": "num_classes",
            "meaning": "most probable classes that count",
        },
    },
}


class Method(Detector):
    """Mean over the most probable classes of p^gamma (1 - p)^gamma.

    The mean where the paper takes the sum, the same order. By logarithms, and not by pytorch-ood
    0.4: it clamps p to [1e-7, 1 - 1e-7], which the paper does not, and from a lead of some 16 nats
    on every image then has the same score.
    """

    def _score(self, model: nn.Module, images: Tensor) -> Tensor:
        logits = logits_of(model, images)
        check_sizes(self.name, self.params, num_classes=logits.shape[1])
        ranked = logits.sort(dim=1, descending=True).values
        total = ranked.logsumexp(dim=1, keepdim=True)
        log_p = ranked - total
        # 1 - p of the most probable class is the mass of the others; log1p would lose it.
        others = ranked[:, 1:].logsumexp(dim=1, keepdim=True) - total
        log_rest = torch.cat([others, torch.log1p(-log_p[:, 1:].exp())], dim=1)
        terms: Tensor = (self.params["gamma"] * (log_p + log_rest)).exp()
        return terms[:, : self.params["top"]].mean(dim=1)
