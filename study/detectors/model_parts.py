"""What a detector needs of a model, and the representations that it works on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.batches import evaluation_batches
from study.data.roles import TrainID
from study.detectors.catalog import CATALOG, Need


@dataclass(frozen=True, eq=False)
class Head:
    """The linear layer behind the features, on the CPU in float64.

    Attributes:
        weight: shape (K, D).
        bias: shape (K,).
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Logits (N, K) in float64 of features (N, D), or of maps (N, D, h, w) by their mean."""
        if features.ndim == 4:
            features = features.mean(dim=(2, 3))
        return functional.linear(features.double(), self.weight, self.bias)

    @property
    def state(self) -> dict[str, Tensor]:
        """The head as a part of a fitted detector's state."""
        return {"head.weight": self.weight, "head.bias": self.bias}


@dataclass(frozen=True, eq=False)
class TrainFeatures:
    """What a model makes of train ID: all that any detector is fitted on.

    Attributes:
        features: float32, on the CPU, shape (N, D).
        labels: int64, at least 0, shape (N,).
    """

    features: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.labels.shape != self.features.shape[:1]:
            raise ValueError(
                f"features {tuple(self.features.shape)} and labels {tuple(self.labels.shape)} "
                "must be (N, D) and (N,)"
            )
        if not len(self.labels):
            raise ValueError("no train ID image to fit a detector on")
        if int(self.labels.min()) < 0:
            raise ValueError("a label is below 0; detectors are fitted on train ID images alone")
        if not bool(torch.isfinite(self.features).all()):
            raise ValueError("a feature of a train ID image is not finite")


def check_model(model: nn.Module, name: str, needs: Iterable[Need]) -> None:
    """Refuse a model that cannot serve a detector, or is in training mode.

    Args:
        model: as `study.models.classifier.Classifier`.
        name: of the detector, for the message.
        needs: "logits": a call gives (B, K); "features": ``features(images)``, and ``fc``, the
            linear head on them; "maps": ``backbone.maps(normalised(images))``, whose mean over
            space the features are; "input_gradient": the call can be differentiated by the images.

    Raises:
        ValueError: naming the detector, what the model lacks and the detectors that it serves.
    """
    if lacking := [sentence for need in needs if (sentence := _lacks(model, need))]:
        raise ValueError(
            f"{name} cannot score a {type(model).__name__}: it has {' and '.join(lacking)}. "
            f"It serves {served_by(model)}"
        )
    if any(part.training for part in model.modules()):
        raise ValueError(
            f"{name}: the model is in training mode, where scores depend on the batch; "
            "call model.eval() first"
        )


def served_by(model: nn.Module) -> list[str]:
    """Names of the detectors that ``model`` has the parts for, in their default setting."""
    return [
        name
        for name, entry in CATALOG.items()
        if not any(_lacks(model, need) for need in entry.needs)
    ]


def _lacks(model: nn.Module, need: Need) -> str:
    if need == "features":
        if not callable(getattr(model, "features", None)):
            return "no method features(images)"
        if not isinstance(getattr(model, "fc", None), nn.Linear):
            return "no linear head fc"
    if need == "maps":
        if not callable(getattr(getattr(model, "backbone", None), "maps", None)):
            return "no method backbone.maps(images)"
        if not callable(getattr(model, "normalised", None)):
            return "no method normalised(images)"
    return ""


def head_of(model: nn.Module) -> Head:
    """The model's head ``fc``; a missing bias is 0."""
    linear = _linear(model)
    weight = linear.weight.detach().to("cpu").double()
    bias = weight.new_zeros(len(weight)) if linear.bias is None else linear.bias.detach()
    return Head(weight, bias.to("cpu").double())


def _linear(model: nn.Module) -> nn.Linear:
    linear = model.fc
    assert isinstance(linear, nn.Linear)  # check_model has refused any other
    return linear


@torch.no_grad()
def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Class logits (B, K), on the CPU in float64.

    Raises:
        ValueError: if the model gives anything but a matrix.
    """
    return _matrix(model(images), "logits").double()


@torch.no_grad()
def features_of(model: nn.Module, images: Tensor) -> Tensor:
    """Penultimate features (B, D), on the CPU in float32.

    Raises:
        ValueError: if they are no matrix, or not what the head takes.
    """
    compute: Callable[[Tensor], Tensor] = model.features  # type: ignore[assignment]
    features = _matrix(compute(images), "features").float()
    width = _linear(model).in_features
    if features.shape[1] != width:
        raise ValueError(f"the model gives {features.shape[1]} features, its head takes {width}")
    return features


_CLOSE: Final = 1e-4
"""Relative difference of mean maps and features that float32 and half precision explain."""


@torch.no_grad()
def maps_of(model: nn.Module, images: Tensor) -> Tensor:
    """Maps before the pooling, (B, D, h, w), on the CPU in float64.

    Raises:
        ValueError: if their mean over space is not the features: then the head cannot follow.
    """
    normalised = model.normalised(images)  # type: ignore[operator]
    maps: Tensor = model.backbone.maps(normalised)  # type: ignore[operator, union-attr]
    maps = maps.detach().to("cpu").double().contiguous()
    features = features_of(model, images).double()
    if maps.ndim != 4 or maps.shape[:2] != features.shape:
        raise ValueError(
            f"maps {tuple(maps.shape)} and features {tuple(features.shape)} must be (B, D, h, w) "
            "and (B, D)"
        )
    pooled = maps.mean(dim=(2, 3))
    if not torch.allclose(pooled, features, rtol=_CLOSE, atol=_CLOSE * float(pooled.abs().max())):
        raise ValueError(
            f"the features of {type(model).__name__} are not the mean of its maps over space; "
            "take layer: features"
        )
    return maps


def _matrix(values: Tensor, what: str) -> Tensor:
    if not isinstance(values, Tensor) or values.ndim != 2:
        raise ValueError(f"the model's {what} must be a tensor (B, size)")
    return values.detach().to("cpu")


_BATCH_SIZE = 512


def features_of_train(model: nn.Module, train: TrainID, device: torch.device) -> TrainFeatures:
    """What ``model`` makes of the training images, without augmentation, in their order.

    Compute it once and hand it to ``fit_features`` of every detector.

    Args:
        model: with ``features`` and ``fc``, in evaluation mode, on ``device``.
        train: the role; validation and test images have other types.
        device: where the model is.

    Raises:
        ValueError: as `check_model` and `TrainFeatures`.
    """
    check_model(model, "a fitted detector", ("features",))
    batches = evaluation_batches(train.images, _BATCH_SIZE, device, channels_last=True)
    features = torch.cat([features_of(model, images) for images in batches])
    return TrainFeatures(features, torch.as_tensor(train.images.labels, dtype=torch.int64))
