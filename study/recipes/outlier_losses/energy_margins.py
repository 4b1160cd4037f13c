"""Energy fine-tuning (Liu et al. 2020, arXiv:2010.03759); what the recipe ``energy`` has.

``energy_weight`` is 0.1 in the paper.
"""

from __future__ import annotations

from typing import Final

from study.recipes.energy import EnergyLoss

DECLARED: Final = {
    "margins": True,
    "parameters": {
        "energy_weight": {"default": 0.1, "ge": 0, "meaning": "weight of the energy terms"}
    },
}


class Loss(EnergyLoss):
    """CE + energy_weight * the squared hinges of the energies at both margins."""

    captured = True
