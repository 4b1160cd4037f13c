"""Baselines without fine-tuning: a trained classifier as it is, and one post-hoc detector.

A trial is one detector with one setting. What the detector needs beside the model is fitted on
training ID images alone; its setting is chosen by the search, on validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.data.roles import StudyData
from study.detectors.base import Detector, FittedDetector, make_detector
from study.detectors.catalog import CATALOG, check_parameters, check_sizes
from study.detectors.model_parts import TrainFeatures
from study.errors import TrialFailed
from study.models.classifier import Classifier
from study.models.weights import load_backbone, load_into
from study.recipes.base import Fitted, Recipe, Scores, same_tensors
from study.recipes.baselines_params import OWN_SCORE, BaselineParams
from study.recipes.frozen_features import Frozen
from study.scoring.feature_scores import class_prototypes, unit_rows
from study.scoring.scores import compute_scores

_MEANS = "class_means"


class BaselinesRecipe(Recipe[BaselineParams]):
    """Score, and train nothing."""

    _loaded: tuple[Fitted, Detector] | None = None

    def check(self, data: StudyData) -> None:
        """Every setting that is given fits the sizes of model and data, whoever is chosen."""
        params = self.params
        if params.head == "trained" and self.frozen is None:
            raise ValueError(
                "these weights have no trained head, so logits of them mean nothing; set "
                "train.head: none and choose a detector of features, or train a base first"
            )
        sizes = {"num_train": len(data.train.images), "num_classes": data.num_classes}
        if self.frozen is not None:
            sizes["num_features"] = cast(Classifier, self.frozen()).num_features
        faults = []
        for name in CATALOG:
            if name != params.detector and not params.given(name):
                continue
            try:
                check_sizes(name, check_parameters(name, params.given(name)), **sizes)
            except ValueError as error:
                faults.append(str(error))
        if faults:
            raise ValueError("; ".join(faults))

    def logit_temperature(self, score: str) -> float | None:
        """1 for the logits' own scores of a trained head."""
        trained = self.params.head == "trained" and score in ("msp", "energy")
        return 1.0 if trained else None

    def load_start(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """All of the classifier's weights; without a trained head, those of the backbone."""
        load = load_into if self.params.head == "trained" else load_backbone
        load(model, weights)

    def fit(self, model: nn.Module, data: StudyData, device: torch.device) -> Fitted:
        """What the detector has fitted on training ID, and without a head the class means.

        Features of the training images are computed once for all trials with these weights.
        """
        params = self.params
        detector = self._detector()
        if params.head == "trained" and not isinstance(detector, FittedDetector):
            return {}
        images = data.train.images
        found = np.array(Frozen(model, device).features(images, "none", 1)[0])
        labels = torch.from_numpy(np.array(images.labels, dtype=np.int64))
        train = TrainFeatures(torch.from_numpy(found), labels)
        try:
            detector.fit_features(model, train)
            fitted = detector.state()
            if params.head == "none":
                fitted[_MEANS] = class_prototypes(train.features, labels, data.num_classes)
        except ValueError as error:  # what these features do not bear: the trial's, not a bug's
            raise TrialFailed(str(error)) from error
        return fitted

    def score(
        self, model: nn.Module, images: Tensor, fitted: Fitted
    ) -> tuple[NDArray[np.int64], Scores]:
        """The detector's score, and the logits' own where the head is a trained one."""
        params = self.params
        own = {OWN_SCORE: self._ready(fitted).score(model, images)}
        if params.head == "none":
            features = unit_rows(cast(Classifier, model).features(images).cpu())
            nearest = (features @ unit_rows(fitted[_MEANS]).T).argmax(dim=1)
            return nearest.numpy(), own
        logits = model(images)
        return logits.argmax(dim=1).cpu().numpy(), own | compute_scores(logits, ("msp", "energy"))

    def _detector(self) -> Detector:
        params = self.params
        return make_detector(params.detector, params.given(params.detector))

    def _ready(self, fitted: Fitted) -> Detector:
        """The fitted detector, made once for all batches: kNN builds an index."""
        state = {name: tensor for name, tensor in fitted.items() if name != _MEANS}
        if self._loaded is None or not same_tensors(self._loaded[0], state):
            detector = self._detector()
            detector.load_state(state)
            self._loaded = (state, detector)
        return self._loaded[1]
