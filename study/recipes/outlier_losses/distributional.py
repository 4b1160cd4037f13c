"""Distribution-augmented Outlier Exposure (DAL, Wang et al., NeurIPS 2023).

The defaults of the ``dal_`` parameters are those of the public command for CIFAR-10 (--gamma=10
--beta=.01 --rho=10 --strength=1). The script's own defaults, a radius and a step of .01, are
Outlier Exposure plus 4 % of it. Radius and step are in the features' unit, so another network may
need others.
``oe_weight`` is 0.5 in the paper.
"""

from __future__ import annotations

from typing import Any, Final, cast

from torch import Tensor, nn

from study.data.batches import Batch
from study.losses.distributional import DistributionalAugmentation
from study.models.classifier import Classifier
from study.recipes.energy import OutlierLoss

DECLARED: Final = {
    "parameters": {
        "oe_weight": {"default": 0.5, "ge": 0, "meaning": "weight of the outliers' term"},
        "dal_radius": {
            "default": 10.0,
            "gt": 0,
            "meaning": "mean |d| that the features are moved by, in their unit",
        },
        "dal_steps": {"default": 10, "ge": 1, "le": 1000, "meaning": "steps up the gradient"},
        "dal_step_size": {
            "default": 1.0,
            "gt": 0,
            "meaning": "Euclidean length of a step, in the features' unit",
        },
        "dal_rate": {
            "default": 0.01,
            "ge": 0,
            "meaning": "how fast the penalty follows the radius",
        },
        "dal_max_penalty": {
            "default": 10.0,
            "gt": 0,
            "meaning": "ceiling of the penalty, which starts at a hundredth of it",
        },
    }
}

_START_PENALTY = 0.01  # of the ceiling, as in the public script


class Loss(OutlierLoss):
    """CE + oe_weight * Outlier Exposure at the worst features around the outliers' own."""

    captured = True

    def __init__(self, params: Any) -> None:
        """The ball's size and the multiplier from the parameters."""
        super().__init__(params)
        self.augmentation = DistributionalAugmentation(
            radius=params.dal_radius,
            steps=params.dal_steps,
            step_size=params.dal_step_size,
            rate=params.dal_rate,
            penalty=_START_PENALTY * params.dal_max_penalty,
            max_penalty=params.dal_max_penalty,
        )

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, cross_entropy, uniform (unweighted), distance and penalty."""
        classifier = cast(Classifier, model)
        features = classifier.features(batch.images)
        id_logits = classifier.fc(features[: batch.num_id])
        classification = self.classification(id_logits, batch)
        uniform, distance = self.augmentation(
            features[batch.num_id :], classifier.fc.weight, classifier.fc.bias
        )
        return {
            "loss": classification + self.params.oe_weight * uniform,
            "cross_entropy": classification,
            "uniform": uniform,
            "distance": distance,
            "penalty": self.augmentation.penalty.clone(),
        }
