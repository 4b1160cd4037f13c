"""Gradient regularisation of the energy (GReg, Sharifi et al., ECCV 2024).

``energy_weight`` is 0.1 in the paper.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from study.data.batches import Batch
from study.losses.energy import energy_margin_loss, free_energy
from study.losses.gradient_regularisation import gradient_regularisation, input_gradient_norms
from study.recipes.energy import EnergyLoss

DECLARED: Final = {
    "margins": True,
    "linear": "needs the gradient by the image, and with fine_tune: linear there are only "
    "features",
    "parameters": {
        "energy_weight": {"default": 0.1, "ge": 0, "meaning": "weight of the energy terms"},
        "gradient_weight": {
            # The public code's 1, on its scale: see study.losses.gradient_regularisation.
            "default": 0.0012,
            "ge": 0,
            "meaning": "weight of the gradients' norms",
        },
    },
}


class Loss(EnergyLoss):
    """CE + energy_weight * the hinges + gradient_weight * the energy's gradient by the image."""

    captured = True

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, cross_entropy, energy_in, energy_out, gradient_in, gradient_out."""
        images = batch.images.requires_grad_()
        logits = model(images)
        margins = {"m_in": self.m_in, "m_out": self.m_out}
        temperature = self.params.temperature
        halves = energy_margin_loss(logits, batch.num_id, **margins, temperature=temperature)
        terms = self.energy_terms(self.classification(logits, batch), *halves)
        energies = free_energy(logits, temperature)
        norms = input_gradient_norms(energies, images)
        gradient_in, gradient_out = gradient_regularisation(
            norms, energies, batch.num_id, **margins
        )
        terms["loss"] = terms["loss"] + self.params.gradient_weight * (gradient_in + gradient_out)
        return {**terms, "gradient_in": gradient_in, "gradient_out": gradient_out}
