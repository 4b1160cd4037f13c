"""Fine-tuning a trained classifier against outliers, by any of the losses under ``study/losses``.

Each objective is the cross-entropy on ID plus the loss's own terms, weighted; one forward over ID
and outliers together, so that BatchNorm sees both.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from study.data.batches import Batch, evaluation_batches
from study.data.images import ImageSet
from study.data.roles import StudyData
from study.losses.balanced_energy import balanced_energy_loss, class_prior
from study.losses.distributional import DistributionalAugmentation
from study.losses.energy import energy_margin_loss, free_energy
from study.losses.energy_logistic import EnergyLogistic
from study.losses.gradient_regularisation import gradient_regularisation, input_gradient_norms
from study.losses.outlier_exposure import outlier_exposure_loss
from study.models.classifier import Classifier
from study.recipes.base import Frozen, TrainingLoss
from study.recipes.catalog import RecipeInfo
from study.recipes.energy import EnergyLoss, EnergyRecipe, OutlierLoss
from study.recipes.outlier_params import OutlierParams
from study.seeding import numpy_generator

_MEASURED = 2_000  # images of a set, at most, that a loss is fitted to at the start
_START_PENALTY = 0.01  # of the ceiling, as in the public script of DAL


class OutlierExposureLoss(OutlierLoss):
    """CE + oe_weight * the outliers' cross-entropy to the uniform distribution."""

    params: OutlierParams

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, cross_entropy, uniform (unweighted)."""
        logits = model(batch.images)
        classification = self.classification(logits, batch)
        uniform = outlier_exposure_loss(logits, batch.num_id)
        loss = classification + self.params.oe_weight * uniform
        return {"loss": loss, "cross_entropy": classification, "uniform": uniform}


class LogisticLoss(OutlierLoss):
    """CE + energy_weight * binary cross-entropy of a learnt logistic function of the energy."""

    def __init__(self, params: OutlierParams) -> None:
        """Start at the scale of the parameters; ``begin`` sets the centre."""
        super().__init__(params)
        self.logistic = EnergyLogistic(scale=params.logistic_scale)

    def begin(self, model: nn.Module, data: StudyData, device: torch.device) -> None:
        """Put the centre midway between the mean energies of training ID and of outliers."""
        sets = (data.train.images, _outliers(data))
        means = [
            free_energy(_logits(model, images, device), self.params.temperature).double().mean()
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


class BalancedLoss(EnergyLoss):
    """CE + energy_weight * the hinges, outliers weighted by how common their class is.

    Attributes:
        prior: share of each class among the outliers by the starting model's predictions, shape
            (K,); 1 for all classes, shape (1,), before ``begin``.
    """

    params: OutlierParams
    prior: Tensor

    def __init__(self, params: OutlierParams, m_in: float, m_out: float) -> None:
        """Margins in nats, resolved."""
        super().__init__(params, m_in, m_out)
        self.register_buffer("prior", torch.ones(1))

    def begin(self, model: nn.Module, data: StudyData, device: torch.device) -> None:
        """Measure the prior."""
        logits = _logits(model, _outliers(data), device)
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


class GradientLoss(EnergyLoss):
    """CE + energy_weight * the hinges + gradient_weight * the energy's gradient by the image."""

    params: OutlierParams

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


class DistributionalLoss(OutlierLoss):
    """CE + oe_weight * Outlier Exposure at the worst features around the outliers' own."""

    params: OutlierParams

    def __init__(self, params: OutlierParams) -> None:
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
                "energy would mean nothing; give them one with model.init: cifar10 and "
                "base.fine_tune: linear (a linear probe), or score features alone with recipe "
                "baselines and train.head: none"
            )

    def loss(self) -> TrainingLoss:
        """The objective; margins, where it has any, must have been resolved to numbers."""
        params: OutlierParams = self.params
        if params.loss == "outlier_exposure":
            return OutlierExposureLoss(params)
        if params.loss == "energy_logistic":
            return LogisticLoss(params)
        if params.loss == "distributional":
            return DistributionalLoss(params)
        kinds = {
            "energy_margins": EnergyLoss,
            "balanced_energy": BalancedLoss,
            "gradient_regularisation": GradientLoss,
        }
        return kinds[params.loss](params, *self.margins())


def _outliers(data: StudyData) -> ImageSet:
    if data.outliers is None:
        raise TypeError("fine-tuning against outliers needs outliers")
    return data.outliers.images


@torch.no_grad()
def _logits(model: nn.Module, images: ImageSet, device: torch.device) -> Tensor:
    """Logits of up to 2,000 images of a set, (N, K), in evaluation mode."""
    if len(images) > _MEASURED:
        chosen = numpy_generator(0, "measured for the loss").permutation(len(images))
        images = images.take(np.sort(chosen[:_MEASURED]))
    model.eval()
    batches = evaluation_batches(images, 512, device, channels_last=True)
    return torch.cat([model(batch) for batch in batches])
