"""Fine-tuning a trained classifier against outliers, by any loss of ``outlier_losses``.

Each objective is the cross-entropy on ID plus the loss's own terms, weighted; one forward over ID
and outliers together, so that BatchNorm sees both.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from study.data.roles import StudyData
from study.recipes import outlier_losses
from study.recipes.base import Frozen, TrainingLoss
from study.recipes.catalog import RecipeInfo
from study.recipes.energy import EnergyRecipe
from study.recipes.outlier_params import outlier_margins


class OutliersRecipe(EnergyRecipe):
    """Fine-tune a classifier by the loss that ``loss`` names, or leave it as it is."""

    def __init__(self, info: RecipeInfo, params: Any, frozen: Frozen | None = None) -> None:
        """As of every recipe; ``fine_tune: none`` trains nothing."""
        super().__init__(info, params, frozen)
        self.trains = info.fine_tunes({"fine_tune": params.fine_tune})

    def check(self, data: StudyData) -> None:
        """As of energy fine-tuning; what is not trained needs a head that was."""
        super().check(data)
        if not self.trains and self.frozen is None:
            raise ValueError(
                "fine_tune: none trains nothing, and these weights have no trained head, whose "
                "energy would mean nothing; give them one with model.init: base and "
                "base.fine_tune: linear (a linear probe), or score features alone with recipe "
                "baselines and train.head: none"
            )

    def loss(self) -> TrainingLoss:
        """The objective; margins, where it has any, must have been resolved to numbers."""
        name: str = self.params.loss
        margins = self.margins() if outlier_margins({"loss": name}) else ()
        module = import_module(f"{outlier_losses.__name__}.{name}")
        objective: TrainingLoss = module.Loss(self.params, *margins)
        return objective
