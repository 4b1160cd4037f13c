"""What a recipe is: the model, the batches, the loss and the scores of one kind of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.data.batches import Batch, EpochDraws, draw_epoch, training_batches
from study.data.order import Sampling
from study.data.roles import StudyData
from study.models.names import DEFAULT_NETWORK, Network
from study.models.registry import build_classifier
from study.models.weights import load_backbone, load_into
from study.recipes.params import TrainParams, TrialParams
from study.seeding import seed_of

Scores = dict[str, NDArray[np.float64]]
Fitted = dict[str, Tensor]
Frozen = Callable[[], nn.Module]
P_co = TypeVar("P_co", bound=TrialParams, covariant=True)
T_co = TypeVar("T_co", bound=TrainParams, covariant=True)


def same_tensors(one: Fitted, other: Fitted) -> bool:
    """Whether the very same tensors are in both, so that what was made of them still holds."""
    return one.keys() == other.keys() and all(one[name] is other[name] for name in one)


@dataclass(frozen=True)
class Moment:
    """Where a training step stands in its run.

    Attributes:
        epoch: 1-based.
        step: of the epoch, from 0.
        steps_per_epoch: optimizer steps an epoch.
        epochs: of the run.
    """

    epoch: int
    step: int
    steps_per_epoch: int
    epochs: int


class TrainingLoss(nn.Module):
    """A training objective: its call gives the terms of one batch, scalars.

    ``"loss"`` is the one to minimise; the names are the same at every step. Parameters of its own
    join the optimizer's.

    Attributes:
        captured: whether its steps may be one CUDA graph: each is the same operations on tensors,
            none of which is looked at, and ``at`` changes tensors in place alone.
    """

    captured: ClassVar[bool] = False

    def begin(self, model: nn.Module, data: StudyData, device: torch.device) -> None:
        """Measure what the loss needs of the model that training starts from; often nothing.

        Args:
            model: with the weights that training starts from, also where a run is resumed.
            data: the roles that training may see.
            device: of the model.
        """

    def at(self, moment: Moment) -> None:
        """Set what changes in the course of a run; nothing, where nothing does."""

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Terms of the batch, each without dimensions."""
        raise NotImplementedError


class Recipe(Generic[P_co]):
    """One kind of trial: its model, what that starts from, and how it is scored.

    Attributes:
        params: the recipe's section ``train:``, validated (margins, if any, as numbers).
        frozen: builds the study's base model, with its weights; None where there is none.
        scores: names of the OOD scores that every validation reports.
        own_score: the one that the means over OOD sets, and so the selection, are of.
        may_be_constant: scores that may be the same for all images without failing a trial.
    """

    may_be_constant: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, params: P_co, frozen: Frozen | None = None) -> None:
        """Take the parameters, and what builds the base."""
        self.params = params
        self.frozen = frozen
        self.scores = params.scores
        self.own_score = params.selected_score

    def build_model(
        self,
        backbone: str,
        num_classes: int,
        *,
        dropout: float,
        image_size: int,
        seed: int,
        network: Network = DEFAULT_NETWORK,
    ) -> nn.Module:
        """A freshly initialised model; its weights come from the stream "init" of ``seed``."""
        return build_classifier(
            backbone,
            num_classes,
            dropout=dropout,
            image_size=image_size,
            seed=seed_of(seed, "init"),
            network=network,
        )

    def check(self, data: StudyData) -> None:
        """Look at what only data and base can tell, before any trial starts.

        Raises:
            ValueError: saying what cannot be trained, and the way out.
        """

    def load_start(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Copy the weights that a trial starts from into its fresh model: all, or none.

        Weights without a head leave the fresh head as it is.

        Raises:
            ValueError: naming every tensor that does not fit.
        """
        if any(name.startswith("fc.") for name in weights):
            load_into(model, weights)
        else:
            load_backbone(model, weights)

    @property
    def scores_with_base(self) -> bool:
        """Whether scoring looks at the study's base, so that a model is nothing without it."""
        return False

    def logit_temperature(self, score: str) -> float | None:
        """Temperature of a score that is a formula of the model's logits; None for others."""
        del score
        return None

    def fit(self, model: nn.Module, data: StudyData, device: torch.device) -> Fitted:
        """What the scores need beside the model, measured on training ID images; often nothing."""
        del model, data, device
        return {}

    def score(
        self, model: nn.Module, images: Tensor, fitted: Fitted
    ) -> tuple[NDArray[np.int64], Scores]:
        """Predicted classes (N,) and the scores (N,) of a batch, higher = more OOD."""
        raise NotImplementedError


@runtime_checkable
class CombinesScores(Protocol):
    """A recipe with scores that are made of the others; ``score`` leaves those out."""

    def calibrate(self, id_scores: Mapping[str, NDArray[np.float64]]) -> Fitted:
        """What they need of the scores of the validation ID images."""

    def combine(self, scores: Scores, fitted: Fitted) -> Scores:
        """All of the recipe's scores."""


class TrainingRecipe(Recipe[T_co]):
    """A recipe that can train: its batches, its loss, and what an epoch tells.

    Attributes:
        logs_gradients: whether the epochs tell the norm of the gradients.
        ratios: what an epoch tells in place of two terms of the loss -> the terms, whose sums over
            the epoch are divided; 0 where the second is.
    """

    logs_gradients: ClassVar[bool] = False
    ratios: ClassVar[Mapping[str, tuple[str, str]]] = {}

    def sampling(self, data: StudyData) -> Sampling:
        """How an epoch draws its images; ``epoch_images`` is a cap, null takes all.

        Raises:
            ValueError: saying why the parameters do not fit the images that there are.
        """
        params, num_train = self.params, len(data.train.images)
        return Sampling(
            params.batch_size,
            num_images=min(num_train, params.epoch_images or num_train),
            augment=params.augment,
            rotation=params.rotation,
            least_area=params.crop_least_area,
        )

    def loss(self) -> TrainingLoss:
        """The training objective."""
        raise NotImplementedError

    def drawn(self, data: StudyData, *, seed: int, epoch: int) -> EpochDraws:
        """What an epoch draws."""
        outliers = data.outliers.images if data.outliers else None
        sampling = self.sampling(data)
        return draw_epoch(data.train.images, sampling, outliers, seed=seed, epoch=epoch)

    def batches(
        self,
        data: StudyData,
        *,
        seed: int,
        epoch: int,
        device: torch.device,
        drawn: EpochDraws | None = None,
    ) -> Iterator[Batch]:
        """The training batches of one epoch; ``drawn`` is what it draws, where that is there."""
        return training_batches(
            data.train.images,
            self.sampling(data),
            outliers=data.outliers.images if data.outliers else None,
            seed=seed,
            epoch=epoch,
            device=device,
            channels_last=True,
            drawn=drawn,
        )

    def epoch_metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """What an epoch tells of its loss terms, given their means over the steps."""
        told = dict(means)
        for name, (total, number) in self.ratios.items():
            total_mean, number_mean = told.pop(total), told.pop(number)
            told[name] = total_mean / number_mean if number_mean else 0.0
        return told
