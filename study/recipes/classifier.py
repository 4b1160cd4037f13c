"""The classifier itself: cross-entropy on the ID training images."""

from __future__ import annotations

from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.data.batches import Batch
from study.data.roles import StudyData
from study.losses.classification import cross_entropy
from study.models.classifier import Classifier
from study.recipes.base import Fitted, Frozen, Scores, TrainingLoss, TrainingRecipe
from study.recipes.classifier_params import ClassifierParams
from study.recipes.trial_detectors import Seen, TrialDetectors
from study.scoring.scores import OF_LOGITS, compute_scores

C_co = TypeVar("C_co", bound=ClassifierParams, covariant=True)


class ClassificationLoss(TrainingLoss):
    """Cross-entropy with label smoothing over the ID images of a batch."""

    captured = True

    def __init__(self, label_smoothing: float) -> None:
        """``label_smoothing`` in [0, 1)."""
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The one term, in nats."""
        logits = model(batch.images)
        loss = cross_entropy(
            logits[: batch.num_id], batch.labels, label_smoothing=self.label_smoothing
        )
        return {"loss": loss}


class ClassifierRecipe(TrainingRecipe[C_co]):
    """Train the classifier: all of it, or its last layer alone."""

    def __init__(self, params: C_co, frozen: Frozen | None = None) -> None:
        """As every recipe; and the detectors that the parameters name."""
        super().__init__(params, frozen)
        self._detectors = TrialDetectors(params)

    @property
    def temperature(self) -> float:
        """Temperature of the energy score, dimensionless."""
        return 1.0

    def logit_temperature(self, score: str) -> float | None:
        """That of the energy, for every score of logits."""
        return self.temperature if score in OF_LOGITS else None

    def loss(self) -> TrainingLoss:
        """Cross-entropy."""
        return ClassificationLoss(self.params.label_smoothing)

    def fit(self, model: nn.Module, data: StudyData, device: torch.device) -> Fitted:
        """What the detectors need; nothing without any."""
        return self._detectors.fit(model, data, device)

    def score(
        self, model: nn.Module, images: Tensor, fitted: Fitted
    ) -> tuple[NDArray[np.int64], Scores]:
        """The scores of the logits, and those of the detectors."""
        if not self._detectors.names:
            logits = model(images)
            scores = compute_scores(logits, self.scores, temperature=self.temperature)
            return logits.argmax(dim=1).cpu().numpy(), scores
        classifier = cast(Classifier, model)
        features = classifier.features(images)
        logits = Seen(classifier.fc)(features)
        names = [name for name in self.scores if name not in self._detectors.names]
        scores = compute_scores(logits, names, temperature=self.temperature)
        predicted = logits.argmax(dim=1).cpu().numpy()
        return predicted, scores | self._detectors.score(model, images, features, fitted)
