"""Energy fine-tuning of a trained classifier (Liu et al., NeurIPS 2020, arXiv:2010.03759)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from study.data.batches import Batch
from study.data.images import ImageSet
from study.data.order import OutlierPool, Sampling, make_pool
from study.data.roles import StudyData
from study.losses.classification import cross_entropy
from study.losses.energy import energy_margin_loss
from study.recipes.base import TrainingLoss
from study.recipes.classifier import ClassifierRecipe
from study.recipes.classifier_params import EnergyParams


class OutlierLoss(TrainingLoss):
    """What the losses against outliers share: the parameters, the cross-entropy, the terms.

    Attributes:
        params: the recipe's parameters; those of a loss are made of what its file declares.
    """

    def __init__(self, params: Any) -> None:
        """The recipe's parameters."""
        super().__init__()
        self.params = params

    def classification(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of the ID rows, in nats."""
        smoothing = self.params.label_smoothing
        return cross_entropy(logits[: batch.num_id], batch.labels, label_smoothing=smoothing)

    def energy_terms(
        self, classification: Tensor, energy_in: Tensor, energy_out: Tensor
    ) -> dict[str, Tensor]:
        """The terms of an energy loss: loss, cross_entropy, energy_in, energy_out."""
        return {
            "loss": classification + self.params.energy_weight * (energy_in + energy_out),
            "cross_entropy": classification,
            "energy_in": energy_in,
            "energy_out": energy_out,
        }


class EnergyLoss(OutlierLoss):
    """Cross-entropy on ID plus the squared hinge of the energies at both margins.

    CE + energy_weight * (mean_ID relu(E - m_in)^2 + mean_OUT relu(m_out - E)^2), Eq. 7 to 9 of
    the paper, the means taken per group. ID and outliers go through the model in one forward, so
    that BatchNorm sees both.
    """

    def __init__(self, params: Any, m_in: float, m_out: float) -> None:
        """Margins in nats, resolved; the rest from the recipe's parameters."""
        super().__init__(params)
        self.m_in = m_in
        self.m_out = m_out

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, cross_entropy, energy_in, energy_out (the last two unweighted)."""
        logits = model(batch.images)
        classification = self.classification(logits, batch)
        halves = energy_margin_loss(
            logits,
            batch.num_id,
            m_in=self.m_in,
            m_out=self.m_out,
            temperature=self.params.temperature,
        )
        return self.energy_terms(classification, *halves)


class EnergyRecipe(ClassifierRecipe):
    """Fine-tune a classifier so that ID and outlier energies part at the margins."""

    @property
    def temperature(self) -> float:
        """The loss's temperature is the score's."""
        return float(self.params.temperature)

    def sampling(self, data: StudyData) -> Sampling:
        """Outliers beside the ID images of each batch."""
        if data.outliers is None:
            raise TypeError("fine-tuning against outliers needs outliers")
        params: EnergyParams = self.params
        return replace(
            super().sampling(data),
            outlier_batch_size=params.outlier_batch_size,
            outlier_order=params.outlier_order,
            outlier_pool=self._outlier_pool(data.outliers.images),
        )

    def _outlier_pool(self, images: ImageSet) -> OutlierPool | None:
        """What ``max_outliers`` and ``outlier_weights`` leave; found once for all epochs."""
        params: EnergyParams = self.params
        if (params.max_outliers, params.outlier_weights) == (None, None):
            return None
        if self._pool is None or self._pool[0] != images.fingerprint:
            pool = make_pool(
                images, max_outliers=params.max_outliers, weights=params.outlier_weights
            )
            self._pool = images.fingerprint, pool
        return self._pool[1]

    def check(self, data: StudyData) -> None:
        """Whether the outliers are what the parameters name."""
        super().check(data)
        if data.outliers is not None:
            self._outlier_pool(data.outliers.images)

    def margins(self) -> tuple[float, float]:
        """``m_in`` and ``m_out`` in nats.

        Raises:
            TypeError: where they have not been resolved to numbers.
        """
        params: EnergyParams = self.params
        if not isinstance(params.m_in, float) or not isinstance(params.m_out, float):
            raise TypeError("margins must be resolved against the base before training")
        return params.m_in, params.m_out

    def loss(self) -> TrainingLoss:
        """The margin loss; the margins must have been resolved to numbers."""
        return EnergyLoss(self.params, *self.margins())

    _pool: tuple[str, OutlierPool | None] | None = None
