"""Energy fine-tuning of a trained classifier (Liu et al., NeurIPS 2020, arXiv:2010.03759)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from study.data.batches import Batch, training_batches
from study.data.roles import StudyData
from study.losses.classification import cross_entropy
from study.losses.energy import energy_margin_loss
from study.recipes.base import Recipe, TrainingLoss
from study.recipes.params import EnergyParams


class EnergyLoss(TrainingLoss):
    """Cross-entropy on ID plus the squared hinge of the energies at both margins.

    CE + energy_weight * (mean_ID relu(E - m_in)^2 + mean_OUT relu(m_out - E)^2), Eq. 7 to 9 of
    the paper, the means taken per group. ID and outliers go through the model in one forward, so
    that BatchNorm sees both.
    """

    def __init__(self, params: EnergyParams, m_in: float, m_out: float) -> None:
        """Margins in nats, resolved; the rest from the recipe's parameters."""
        super().__init__()
        self.params = params
        self.m_in = m_in
        self.m_out = m_out

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, cross_entropy, energy_in, energy_out (the last two unweighted)."""
        logits = model(batch.images)
        classification = cross_entropy(
            logits[: batch.num_id], batch.labels, label_smoothing=self.params.label_smoothing
        )
        energy_in, energy_out = energy_margin_loss(
            logits,
            batch.num_id,
            m_in=self.m_in,
            m_out=self.m_out,
            temperature=self.params.temperature,
        )
        return {
            "loss": classification + self.params.energy_weight * (energy_in + energy_out),
            "cross_entropy": classification,
            "energy_in": energy_in,
            "energy_out": energy_out,
        }


class EnergyRecipe(Recipe):
    """Fine-tune a classifier so that ID and outlier energies part at the margins."""

    @property
    def temperature(self) -> float:
        """The loss's temperature is the score's."""
        return float(self.params.temperature)

    def loss(self) -> TrainingLoss:
        """The margin loss; the margins must have been resolved to numbers."""
        params: EnergyParams = self.params
        if not isinstance(params.m_in, float) or not isinstance(params.m_out, float):
            raise TypeError("margins must be resolved against the base before training")
        return EnergyLoss(params, params.m_in, params.m_out)

    def batches(
        self, data: StudyData, *, seed: int, epoch: int, device: torch.device
    ) -> Iterator[Batch]:
        """ID images and outliers side by side in each batch."""
        params: EnergyParams = self.params
        if data.outliers is None:
            raise TypeError("energy fine-tuning needs outliers")
        return training_batches(
            data.train.images,
            params.batch_size,
            outliers=data.outliers.images,
            outlier_batch_size=params.outlier_batch_size,
            num_images=self.epoch_images(len(data.train.images)),
            augment=params.augment,
            outlier_order=params.outlier_order,
            seed=seed,
            epoch=epoch,
            device=device,
            channels_last=True,
        )
