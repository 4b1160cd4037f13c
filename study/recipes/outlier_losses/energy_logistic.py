"""A learnt logistic function of the energy (from VOS, Du et al. 2022, arXiv:2202.01197).

Slope and centre are learnt; the centre starts midway between the mean energies of ID and outliers
under the model that training starts from. ``energy_weight`` is 0.1 in the paper.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn

from study.data.batches import Batch
from study.data.roles import StudyData
from study.losses.energy import free_energy
from study.losses.energy_logistic import EnergyLogistic
from study.recipes.energy import OutlierLoss, outlier_images, start_logits

DECLARED: Final = {
    "parameters": {
        "energy_weight": {"default": 0.1, "ge": 0, "meaning": "weight of the energy terms"},
        "logistic_scale": {"default": 1.0, "gt": 0, "meaning": "slope at the start, in 1 / nats"},
    }
}


class Loss(OutlierLoss):
    """CE + energy_weight * binary cross-entropy of a learnt logistic function of the energy."""

    captured = True

    def __init__(self, params: Any) -> None:
        """Start at the scale of the parameters; ``begin`` sets the centre."""
        super().__init__(params)
        self.logistic = EnergyLogistic(scale=params.logistic_scale)

    def begin(self, model: nn.Module, data: StudyData, device: torch.device) -> None:
        """Put the centre midway between the mean energies of training ID and of outliers."""
        sets = (data.train.images, outlier_images(data))
        means = [
            free_energy(start_logits(model, images, device), self.params.temperature)
            .double()
            .mean()
            for images in sets
        ]
        with torch.no_grad():
            self.logistic.centre.fill_(float(sum(means)) / len(means))

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, cross_entropy, energy_in, energy_out, and where phi stands."""
        logits = model(batch.images)
        temperature = self.params.temperature
        halves = self.logistic(logits, batch.num_id, temperature=temperature)
        return {
            **self.energy_terms(self.classification(logits, batch), *halves),
            "logistic_centre": self.logistic.centre,
            "logistic_scale": self.logistic.log_scale.exp(),
        }
