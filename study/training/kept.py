"""Confirming runs on the part of validation that is kept for them: scored, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from study.data.roles import KeptPart
from study.errors import TrialFailed
from study.recipes.base import Recipe
from study.recipes.params import TrialParams
from study.records.files import KEPT, ValidationScores
from study.training.evaluation import evaluate_sets
from study.training.loop import EpochResult


class KeptScores:
    """Scores of the kept part, epoch by epoch, beside those that training is judged by.

    What scores need beside the model was fitted and calibrated on the other part; val/objective,
    and with it the epoch that counts, is of the other part too.

    """

    def __init__(
        self,
        part: KeptPart,
        recipe: Recipe[TrialParams],
        device: torch.device,
        path: Path,
        before: ValidationScores | None = None,
    ) -> None:
        """Begin at ``path``, after the epochs of ``before``."""
        self._scores = before or ValidationScores(np.empty(0, np.int32))
        self._path = path
        self._part = part
        self._recipe = recipe
        self._device = device

    def add(self, model: nn.Module, result: EpochResult) -> dict[str, float]:
        """Score an epoch's model; the scores are on disk when this returns.

        Returns:
            The epoch's metrics under ``confirm/`` in place of ``val/``.

        Raises:
            TrialFailed: where a score is not finite or is the same for every image.
        """
        part, fitted = self._part, result.fitted
        try:
            found = evaluate_sets(self._recipe, model, part.id, part.ood, self._device, fitted)
        except TrialFailed as error:
            raise TrialFailed(f"epoch {result.epoch}, kept part: {error}") from error
        self._scores = self._scores.followed_by(found.as_epoch(result.epoch))
        self._scores.save(self._path)
        metrics = found.metrics(self._recipe.own_score).items()
        return {f"{KEPT}/{name.removeprefix('val/')}": value for name, value in metrics}
