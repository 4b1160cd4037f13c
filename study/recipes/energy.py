"""Fine-tuning a trained classifier against outliers, by any loss of ``outlier_losses``.

The recipe ``energy`` is that of one of them, ``energy_margins`` (Liu et al., NeurIPS 2020,
arXiv:2010.03759). Each objective is the cross-entropy on ID plus the loss's own terms, weighted;
one forward over ID and outliers together, so that BatchNorm sees both.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from study.data.batches import Batch, evaluation_batches
from study.data.images import ImageSet
from study.data.order import OutlierPool, Sampling, make_pool
from study.data.roles import StudyData
from study.losses.classification import cross_entropy
from study.losses.energy import energy_margin_loss
from study.recipes import outlier_losses
from study.recipes.base import TrainingLoss
from study.recipes.classifier import ClassifierRecipe
from study.recipes.energy_params import EnergyParams
from study.seeding import numpy_generator

_MEASURED = 2_000  # images of a set, at most, that a loss is fitted to at the start


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


def outlier_images(data: StudyData) -> ImageSet:
    """The auxiliary outliers (TypeError, where there are none)."""
    if data.outliers is None:
        raise TypeError("fine-tuning against outliers needs outliers")
    return data.outliers.images


@torch.no_grad()
def start_logits(model: nn.Module, images: ImageSet, device: torch.device) -> Tensor:
    """Logits of up to 2,000 images of a set, (N, K), in evaluation mode.

    What a loss may measure of the model that training starts from.
    """
    if len(images) > _MEASURED:
        chosen = numpy_generator(0, "measured for the loss").permutation(len(images))
        images = images.take(np.sort(chosen[:_MEASURED]))
    model.eval()
    batches = evaluation_batches(images, 512, device, channels_last=True)
    return torch.cat([model(batch) for batch in batches])


class EnergyRecipe(ClassifierRecipe[EnergyParams]):
    """Fine-tune a classifier by the loss that ``loss`` names, or leave it as it is."""

    _pool: tuple[str, OutlierPool | None] | None = None

    @property
    def temperature(self) -> float:
        """The loss's temperature is the score's."""
        return self.params.temperature

    def sampling(self, data: StudyData) -> Sampling:
        """Outliers beside the ID images of each batch."""
        return replace(
            super().sampling(data),
            outlier_batch_size=self.params.outlier_batch_size,
            outlier_order=self.params.outlier_order,
            outlier_pool=self._outlier_pool(outlier_images(data)),
        )

    def _outlier_pool(self, images: ImageSet) -> OutlierPool | None:
        """What ``max_outliers`` and ``outlier_weights`` leave; found once for all epochs."""
        most, weights = self.params.max_outliers, self.params.outlier_weights
        if (most, weights) == (None, None):
            return None
        if self._pool is None or self._pool[0] != images.fingerprint:
            self._pool = images.fingerprint, make_pool(images, max_outliers=most, weights=weights)
        return self._pool[1]

    def check(self, data: StudyData) -> None:
        """The outliers are what the parameters name; what is not trained has a trained head."""
        if data.outliers is not None:
            self._outlier_pool(data.outliers.images)
        if not self.params.trains and self.frozen is None:
            raise ValueError(
                "fine_tune: none trains nothing, and these weights have no trained head, whose "
                "energy would mean nothing; give them one with model.init: base and "
                "base.fine_tune: linear (a linear probe), or score features alone with recipe "
                "baselines and train.head: none"
            )

    def loss(self) -> TrainingLoss:
        """The objective; its margins, where it has any, must have been resolved to numbers.

        Raises:
            TypeError: where they have not.
        """
        params = self.params
        margins: tuple[float, ...] = ()
        if params.uses_margins:
            if not isinstance(params.m_in, float) or not isinstance(params.m_out, float):
                raise TypeError("margins must be resolved against the base before training")
            margins = params.m_in, params.m_out
        module = import_module(f"{outlier_losses.__name__}.{params.loss_name}")
        objective: TrainingLoss = module.Loss(params, *margins)
        return objective
