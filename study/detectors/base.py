"""What a detector is: fitted on train ID, kept as tensors, scores with higher = more OOD."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from study.detectors import methods
from study.detectors.catalog import CATALOG, Need, Params, check_parameters, check_sizes, needs_of
from study.detectors.model_parts import Head, TrainFeatures, check_model, features_of, head_of
from study.errors import BadInput

Scores = npt.NDArray[np.float64]
State = dict[str, Tensor]

_HEAD: Final = ("head.weight", "head.bias")


class Detector:
    """A post-hoc score of a trained model.

    pytorch-ood computes all but GEN; this adapter checks the input, hands over the
    representation and keeps what was fitted as tensors. After the network everything runs on the
    CPU.

    Attributes:
        name: key of `study.detectors.catalog.CATALOG`.
        params: every parameter with its value.
    """

    def __init__(self, name: str, params: Mapping[str, Any] | None = None) -> None:
        """Check the parameters.

        Raises:
            ValueError: as `study.detectors.catalog.check_parameters`.
        """
        self.name = name
        self.params: Params = check_parameters(name, params)

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the model must give; see `study.detectors.model_parts.check_model`."""
        return needs_of(self.name, self.params)

    @property
    def must_be_fitted(self) -> bool:
        """Whether the detector has to see train ID before it scores."""
        return CATALOG[self.name].fitted

    def fit_features(self, model: nn.Module, train: TrainFeatures) -> None:
        """Fit on what ``model``, in evaluation mode, makes of train ID; often nothing.

        Raises:
            ValueError: where the model cannot serve the detector, a parameter does not fit its
                sizes, or the images do not do.
        """
        del train
        check_model(model, self.name, self.needs)

    def score(self, model: nn.Module, images: Tensor) -> Scores:
        """Scores of a batch; independent of the other images in it.

        Args:
            model: the one that the detector was fitted on, in evaluation mode.
            images: float, in [0, 1], shape (B, 3, H, W), on the model's device.

        Returns:
            Shape (B,), float64, higher = more OOD.

        Raises:
            ValueError: where the model cannot serve the detector, is not the one that it was
                fitted on, or a parameter does not fit its sizes.
        """
        check_model(model, self.name, self.needs)
        scores: Scores = self._score(model, images).detach().to("cpu").double().numpy()
        return scores

    def state(self) -> State:
        """What was fitted, as flat named tensors; empty where nothing is."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state` gave, in place of fitting.

        Raises:
            ValueError: naming the tensors that are missing or unexpected.
        """
        self._check_keys(state, ())

    def _score(self, model: nn.Module, images: Tensor) -> Tensor:
        raise NotImplementedError

    def _check_keys(self, state: Mapping[str, Tensor], expected: tuple[str, ...]) -> None:
        missing = [key for key in expected if key not in state]
        unexpected = [key for key in state if key not in expected]
        if missing or unexpected:
            raise ValueError(
                f"{self.name}: the state lacks {missing} and has {unexpected} too many; "
                "it must be what this detector's state() gave"
            )


class FittedDetector(Detector):
    """A detector on the features that has to see train ID first.

    A subclass fits tensors (`_fit`) and makes pytorch-ood's object from them (`_restore`), so
    that a detector that was loaded is the one that was saved.
    """

    tensors: ClassVar[tuple[str, ...]]
    """Names of the fitted tensors."""

    every_class: ClassVar[bool] = False
    """Whether train ID must have images of each class."""

    def __init__(self, name: str, params: Mapping[str, Any] | None = None) -> None:
        super().__init__(name, params)
        self._state: State | None = None
        self._inner: Any = None

    def fit_features(self, model: nn.Module, train: TrainFeatures) -> None:
        """As `Detector.fit_features`."""
        check_model(model, self.name, self.needs)
        head = head_of(model)
        num_classes, width = head.weight.shape
        check_sizes(
            self.name,
            self.params,
            num_features=width,
            num_train=len(train.labels),
            num_classes=num_classes,
        )
        self._check_train(train, num_classes, width)
        state = {**self._fit(head, train), **head.state}
        self._take({name: tensor.contiguous() for name, tensor in state.items()})

    def state(self) -> State:
        """What was fitted, and the head that it was fitted on, as flat named tensors.

        Raises:
            ValueError: if the detector is not fitted.
        """
        return dict(self._fitted())

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state` gave, in place of fitting; with equal parameters the scores are equal.

        Raises:
            ValueError: naming the tensors that are missing or unexpected.
        """
        self._check_keys(state, (*self.tensors, *_HEAD))
        # Copied, so that the tensors lie in memory as those of a fit do: sums can depend on it.
        self._take({name: tensor.clone() for name, tensor in state.items()})

    @torch.no_grad()
    def _score(self, model: nn.Module, images: Tensor) -> Tensor:
        state, head = self._fitted(), head_of(model)
        if any(not torch.equal(state[key], tensor) for key, tensor in head.state.items()):
            raise ValueError(
                f"{self.name}: the model's head is not the one that the detector was fitted on; "
                "fit it on this model"
            )
        return self._predict(self._inner, features_of(model, images))

    def _fitted(self) -> State:
        if self._state is None:
            raise ValueError(f"{self.name}: not fitted; call fit() with train ID images first")
        return self._state

    def _take(self, state: State) -> None:
        self._inner = self._restore(state, Head(state["head.weight"], state["head.bias"]))
        self._state = state

    def _check_train(self, train: TrainFeatures, num_classes: int, width: int) -> None:
        if train.features.shape[1] != width:
            raise ValueError(
                f"{self.name}: features of width {train.features.shape[1]}, the model has {width}"
            )
        seen = set(train.labels.tolist())
        if beyond := sorted(seen - set(range(num_classes))):
            raise ValueError(f"{self.name}: labels {beyond}, the model has {num_classes} classes")
        absent = sorted(set(range(num_classes)) - seen)
        if self.every_class and absent:
            raise ValueError(
                f"{self.name}: no train ID image of classes {absent}; it needs some of each"
            )

    def _fit(self, head: Head, train: TrainFeatures) -> State:
        raise NotImplementedError

    def _restore(self, state: State, head: Head) -> Any:
        raise NotImplementedError

    def _predict(self, inner: Any, features: Tensor) -> Tensor:
        scores: Tensor = inner.predict_features(features.double())
        return scores


def make_detector(name: str, params: Mapping[str, Any] | None = None) -> Detector:
    """A detector that is not fitted yet.

    Args:
        name: a key of `study.detectors.catalog.CATALOG`.
        params: those of its parameters that differ from the defaults.

    Raises:
        ValueError: as `study.detectors.catalog.check_parameters`.
        BadInput: where the detector's class is not of the kind that its file declares.
    """
    complete = check_parameters(name, params)
    made: Detector = import_module(f"{methods.__name__}.{name}").Method(name, complete)
    if isinstance(made, FittedDetector) != made.must_be_fitted:
        rule = "a Method that is a FittedDetector is declared as fitted, and no other is"
        way_out = "Derive it from Detector, or from FittedDetector, as it is declared."
        raise BadInput(CATALOG[name].fault(("fitted",), rule, way_out, made.must_be_fitted))
    return made


def pytorch_ood() -> Any:
    """The module ``pytorch_ood.detector``, imported when a detector of it is first used.

    The import takes 2 to 4 s and some 230 MB beside torch (pytorch-ood 0.4, two cores; most of it
    is torchvision and scipy.stats), so no module of the study does it at its own import.

    Raises:
        ModuleNotFoundError: saying how to install it, where it is not there.
    """
    try:
        return import_module("pytorch_ood.detector")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"post-hoc detectors need pytorch-ood, and {error.name} is not installed: "
            "pip install 'ood-study[detectors]'",
            name=error.name,
        ) from error
