"""What a detector is: fitted on train ID, kept as tensors, scores with higher = more OOD."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from study.detectors.catalog import CATALOG, Need, Params, check_parameters, check_sizes, needs_of
from study.detectors.model_parts import (
    Head,
    TrainFeatures,
    check_model,
    features_of,
    head_of,
    train_features,
)

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

    def fit(self, model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fit on train ID images; a detector that is not fitted leaves ``batches`` alone.

        Args:
            model: in evaluation mode.
            batches: (images in [0, 1], (B, 3, H, W), on the model's device; labels (B,)).

        Raises:
            ValueError: where the model cannot serve the detector, a parameter does not fit its
                sizes, or the images do not do.
        """
        if self.must_be_fitted:
            self.fit_features(model, train_features(model, batches, self.name))
        else:
            check_model(model, self.name, self.needs)

    def fit_features(self, model: nn.Module, train: TrainFeatures) -> None:
        """As `fit`, on features of train ID that ``model`` has computed already."""
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
        """As `fit`, on features of train ID that ``model`` has computed already."""
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
