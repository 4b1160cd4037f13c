"""Outlier Exposure (Hendrycks et al. 2019, arXiv:1812.04606).

``oe_weight`` is 0.5 in the paper.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from study.data.batches import Batch
from study.losses.outlier_exposure import outlier_exposure_loss
from study.recipes.energy import OutlierLoss

DECLARED: Final = {
    "parameters": {
        "oe_weight": {"default": 0.5, "ge": 0, "meaning": "weight of the outliers' term"}
    }
}


class Loss(OutlierLoss):
    """CE + oe_weight * the outliers' cross-entropy to the uniform distribution."""

    captured = True

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, cross_entropy, uniform (unweighted)."""
        logits = model(batch.images)
        classification = self.classification(logits, batch)
        uniform = outlier_exposure_loss(logits, batch.num_id)
        loss = classification + self.params.oe_weight * uniform
        return {"loss": loss, "cross_entropy": classification, "uniform": uniform}
