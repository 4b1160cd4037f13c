"""Balanced energy regularisation (Choi et al. 2023, arXiv:2306.10485).

``energy_weight`` is 0.1 in the paper.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn

from study.data.batches import Batch
from study.data.roles import StudyData
from study.losses.balanced_energy import balanced_energy_loss, class_prior
from study.recipes.energy import EnergyLoss, outlier_images, start_logits

DECLARED: Final = {
    "margins": True,
    "parameters": {
        "energy_weight": {"default": 0.1, "ge": 0, "meaning": "weight of the energy terms"},
        "prior_power": {
            "default": 0.05,  # the public code's for CIFAR-10; 0.75 for its long-tailed form
            "ge": 0,
            "meaning": "gamma, the power of the outliers' class frequencies",
        },
        "prior_margin": {
            # The public code's, on a prior that sums to 1: a nat or so for ten classes.
            "default": 10.0,
            "ge": 0,
            "meaning": "alpha, nats that m_out moves up per unit of Z",
        },
    },
}


class Loss(EnergyLoss):
    """CE + energy_weight * the hinges, outliers weighted by how common their class is.

    Attributes:
        prior: share of each class among the outliers by the starting model's predictions, shape
            (K,); 1 for all classes, shape (1,), before ``begin``.
    """

    captured = True

    prior: Tensor

    def __init__(self, params: Any, m_in: float, m_out: float) -> None:
        """Margins in nats, resolved."""
        super().__init__(params, m_in, m_out)
        self.register_buffer("prior", torch.ones(1))

    def begin(self, model: nn.Module, data: StudyData, device: torch.device) -> None:
        """Measure the prior."""
        logits = start_logits(model, outlier_images(data), device)
        self.prior = class_prior(logits.argmax(dim=1), data.num_classes).to(self.prior)

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, cross_entropy, energy_in, energy_out (the last two unweighted)."""
        logits = model(batch.images)
        params = self.params
        halves = balanced_energy_loss(
            logits,
            batch.num_id,
            m_in=self.m_in,
            m_out=self.m_out,
            prior=self.prior.expand(logits.shape[1]),
            gamma=params.prior_power,
            alpha=params.prior_margin,
            temperature=params.temperature,
        )
        return self.energy_terms(self.classification(logits, batch), *halves)
