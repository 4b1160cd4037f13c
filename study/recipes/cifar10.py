"""The classifier itself: cross-entropy on the ID training images."""

from __future__ import annotations

from torch import Tensor, nn

from study.data.batches import Batch
from study.losses.classification import cross_entropy
from study.recipes.base import Recipe, TrainingLoss


class ClassificationLoss(TrainingLoss):
    """Cross-entropy with label smoothing over the ID images of a batch."""

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


class Cifar10Recipe(Recipe):
    """Train the classifier: all of it, or its last layer alone."""

    @property
    def linear(self) -> bool:
        """Whether ``fine_tune`` says so."""
        return bool(self.params.fine_tune == "linear")

    def loss(self) -> TrainingLoss:
        """Cross-entropy."""
        return ClassificationLoss(self.params.label_smoothing)
