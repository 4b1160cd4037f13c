"""The post-hoc detectors that a trial's recipe names, fitted anew after each epoch.

After each epoch and not after the chosen one alone: a study may select by such a score, and then
each epoch is judged by it. That costs a forward of up to ``detector_images`` training images an
epoch, once for all detectors; with linear fine-tuning, whose features do not move, none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from study.data.roles import StudyData, TrainID
from study.detectors.base import Detector, make_detector
from study.detectors.model_parts import TrainFeatures, features_of_train
from study.errors import TrialFailed
from study.models.classifier import Classifier, LinearHead
from study.recipes.base import Fitted, Scores, same_tensors
from study.recipes.classifier_params import ClassifierParams
from study.recipes.frozen_features import Frozen
from study.seeding import numpy_generator


class Seen(LinearHead):
    """The last layer in evaluation mode: one forward of the rest serves all detectors."""

    def __init__(self, fc: nn.Linear) -> None:
        """Share the last layer ``fc``."""
        super().__init__(fc)
        self.eval()


class TrialDetectors:
    """The detectors of one trial.

    Attributes:
        names: as in ``detectors``; what is fitted has them before its first dot.
    """

    def __init__(self, params: ClassifierParams) -> None:
        """The detectors that ``params`` names, with what it gives for them."""
        self.names: tuple[str, ...] = tuple(params.detectors)
        self._given = {name: params.given(name) for name in self.names}
        self._most, self._linear = params.detector_images, params.fine_tune == "linear"
        self._kept: tuple[nn.Module, str, TrainFeatures] | None = None
        self._loaded: tuple[Fitted, dict[str, Detector]] | None = None

    def fit(self, model: nn.Module, data: StudyData, device: torch.device) -> Fitted:
        """What they measure on training ID images; nothing where none has to be fitted.

        Raises:
            TrialFailed: where this state of the model does not bear a detector.
        """
        detectors = {name: make_detector(name, one) for name, one in self._given.items()}
        fitted = {name: one for name, one in detectors.items() if one.must_be_fitted}
        if not fitted:
            return {}
        found: Fitted = {}
        try:
            train = self._features(model, data.train, device)
            for name, detector in fitted.items():
                detector.fit_features(model, train)
                found |= {f"{name}.{key}": tensor for key, tensor in detector.state().items()}
        except ValueError as error:  # what these features do not bear: the trial's, not a bug's
            raise TrialFailed(f"{error}; or take it out of train.detectors") from error
        return found

    def score(self, model: nn.Module, images: Tensor, features: Tensor, fitted: Fitted) -> Scores:
        """Their scores of a batch, each (N,), higher = more OOD.

        Args:
            model: in evaluation mode.
            images: what ``model`` takes.
            features: of ``images``, shape (N, D).
            fitted: what `fit` gave.
        """
        seen = Seen(cast(Classifier, model).fc)
        scores: Scores = {}
        for name, detector in self._ready(fitted).items():
            alone = {"maps", "input_gradient"} & {*detector.needs}
            scores[name] = detector.score(*((model, images) if alone else (seen, features)))
        return scores

    def _features(self, model: nn.Module, train: TrainID, device: torch.device) -> TrainFeatures:
        """Features of the training images, or of a fixed part of them."""
        images = train.images
        if self._most is not None and self._most < len(images):
            chosen = numpy_generator(0, "detector images").permutation(len(images))
            images = images.take(np.sort(chosen[: self._most]))
        if not self._linear:
            return features_of_train(model.eval(), TrainID(images), device)
        if self._kept is None or self._kept[:2] != (model, images.fingerprint):
            found = np.array(Frozen(model, device).features(images, "none", 1)[0])
            labels = torch.from_numpy(np.array(images.labels, dtype=np.int64))
            features = TrainFeatures(torch.from_numpy(found), labels)
            self._kept = model, images.fingerprint, features
        return self._kept[2]

    def _ready(self, fitted: Fitted) -> dict[str, Detector]:
        """The fitted detectors, made once for all batches: kNN builds an index."""
        if self._loaded is None or not same_tensors(self._loaded[0], fitted):
            made = {name: make_detector(name, one) for name, one in self._given.items()}
            for name, detector in made.items():
                detector.load_state(_of(name, fitted))
            self._loaded = (dict(fitted), made)
        return self._loaded[1]


def _of(name: str, fitted: Mapping[str, Tensor]) -> Fitted:
    start = f"{name}."
    return {key.removeprefix(start): one for key, one in fitted.items() if key.startswith(start)}
