"""What a recipe is: the model, the batches, the loss and the scores of one kind of training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.data.batches import Batch, training_batches
from study.data.roles import StudyData
from study.models.registry import build_classifier
from study.recipes.catalog import RecipeInfo
from study.recipes.params import TrainParams
from study.scores import compute_scores
from study.seeding import seed_of


class Loss(Protocol):
    """A module whose call gives the terms of one batch; ``"loss"`` is the one to minimise."""

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Terms of the batch, scalars."""
        ...


class Recipe:
    """A classifier trained on ID images alone; other recipes override what differs.

    Attributes:
        params: the recipe's section ``train:``, validated.
        scores: names of the OOD scores that every validation reports.
        own_score: the one that the means over OOD sets, and so the selection, are of.
    """

    def __init__(self, info: RecipeInfo, params: Any) -> None:
        """Take the catalog's entry and the parameters (margins, if any, resolved to numbers)."""
        self.params = params
        self.scores = info.scores
        self.own_score = info.own_score

    @property
    def temperature(self) -> float:
        """Temperature of the energy score, dimensionless."""
        return 1.0

    def build_model(
        self, backbone: str, num_classes: int, *, dropout: float, image_size: int, seed: int
    ) -> nn.Module:
        """A freshly initialised model; its weights come from the stream "init" of ``seed``."""
        return build_classifier(
            backbone,
            num_classes,
            dropout=dropout,
            image_size=image_size,
            seed=seed_of(seed, "init"),
        )

    def epoch_images(self, num_train: int) -> int:
        """ID images that an epoch draws; ``epoch_images`` is a cap, null takes all."""
        return min(num_train, self.params.epoch_images or num_train)

    def loss(self) -> nn.Module:
        """The training objective, a ``Loss``; its own parameters join the optimizer's."""
        raise TypeError(f"{type(self).__name__} defines no loss")

    def batches(
        self, data: StudyData, *, seed: int, epoch: int, device: torch.device
    ) -> Iterator[Batch]:
        """The training batches of one epoch."""
        params: TrainParams = self.params
        return training_batches(
            data.train.images,
            params.batch_size,
            outliers=None,
            outlier_batch_size=0,
            num_images=self.epoch_images(len(data.train.images)),
            augment=params.augment,
            outlier_order="shuffled",
            seed=seed,
            epoch=epoch,
            device=device,
            channels_last=True,
        )

    def score(
        self, model: nn.Module, images: Tensor
    ) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
        """Predicted classes (N,) and the named scores (N,) of a batch, higher = more OOD."""
        logits = model(images)
        return (
            logits.argmax(dim=1).cpu().numpy(),
            compute_scores(logits, self.scores, temperature=self.temperature),
        )
