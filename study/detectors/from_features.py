"""Detectors fitted on the features of train ID: distances, subspaces, patterns, clipped heads."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from study.detectors.base import Detector, FittedDetector, State
from study.detectors.catalog import check_sizes
from study.detectors.library import pytorch_ood
from study.detectors.model_parts import Head, TrainFeatures, features_of, head_of, maps_of

# pytorch-ood's own; it keeps a covariance invertible where a feature is dead.
_RIDGE = 1e-6


def _precision(centred: Tensor) -> Tensor:
    """Inverse of the scatter matrix (not divided by N, as pytorch-ood has it) plus the ridge."""
    scatter = centred.T @ centred
    scatter.diagonal().add_(_RIDGE)
    inverse: Tensor = torch.linalg.inv(scatter)
    return inverse


class Mahalanobis(FittedDetector):
    """Half the squared Mahalanobis distance to the nearest class, one covariance for all.

    Fitted here in float64 by pytorch-ood's formula: its float32 matrices lose the inverse where
    features are nearly collinear. Scored by pytorch-ood.
    """

    tensors: ClassVar[tuple[str, ...]] = ("means", "precision")
    every_class = True

    def _fit(self, head: Head, train: TrainFeatures) -> State:
        features, num_classes = train.features.double(), len(head.weight)
        means = torch.stack([features[train.labels == k].mean(dim=0) for k in range(num_classes)])
        return {"means": means, "precision": _precision(features - means[train.labels])}

    def _restore(self, state: State, head: Head) -> Any:
        del head
        inner = pytorch_ood().Mahalanobis(None)
        inner.mu, inner.precision = state["means"], state["precision"]
        return inner


class RMD(Mahalanobis):
    """Mahalanobis distance to the nearest class less that to all of train ID; see there."""

    tensors = ("means", "precision", "background_mean", "background_precision")

    def _fit(self, head: Head, train: TrainFeatures) -> State:
        features = train.features.double()
        mean = features.mean(dim=0)
        return {
            **super()._fit(head, train),
            "background_mean": mean,
            "background_precision": _precision(features - mean),
        }

    def _restore(self, state: State, head: Head) -> Any:
        del head
        inner = pytorch_ood().RMD(None)
        inner.mu, inner.precision = state["means"], state["precision"]
        inner.background_mu = state["background_mean"]
        inner.background_precision = state["background_precision"]
        return inner


class KNN(FittedDetector):
    """Distance to the k-th nearest train ID image, features scaled to unit length.

    The state is the features of all train ID images in float32 (4 N D bytes); the neighbour
    index is built from them again, deterministically.
    """

    tensors = ("features",)

    def _fit(self, head: Head, train: TrainFeatures) -> State:
        del head
        return {"features": train.features}

    def _restore(self, state: State, head: Head) -> Any:
        del head
        features = state["features"]
        inner = pytorch_ood().KNN(None, k=self.params["k"])
        # It would take every core of the machine, which trials share.
        inner.knn.set_params(n_jobs=1)
        return inner.fit_features(features, torch.zeros(len(features), dtype=torch.int64))

    def _predict(self, inner: Any, features: Tensor) -> Tensor:
        scores: Tensor = inner.predict_features(features.float())
        return scores


class ViM(FittedDetector):
    """Scaled length of what the principal subspace leaves over, plus the energy; in float32."""

    tensors = ("origin", "residual_space", "scale")

    def _fit(self, head: Head, train: TrainFeatures) -> State:
        width = head.weight.shape[1]
        inner = self._new(head, self.params["dimension"] or width // 2)
        inner.fit_features(train.features, train.labels)
        if not math.isfinite(inner.alpha):
            raise ValueError(
                f"{self.name}: {inner.d} dimensions hold all of the train features' variance; "
                "take a smaller dimension"
            )
        return {
            "origin": inner.u,
            "residual_space": inner.principal_subspace,
            "scale": torch.tensor(inner.alpha, dtype=torch.float64),
        }

    def _restore(self, state: State, head: Head) -> Any:
        width, left = state["residual_space"].shape
        inner = self._new(head, width - left)
        inner.u, inner.principal_subspace = state["origin"], state["residual_space"]
        inner.alpha = state["scale"].item()
        return inner

    def _new(self, head: Head, dimension: int) -> Any:
        return pytorch_ood().ViM(None, d=dimension, w=head.weight, b=head.bias)


class ReAct(FittedDetector):
    """Energy of the head on features that are clipped at a quantile of train ID's.

    On the pooled features, the penultimate layer, as the paper has it.
    """

    tensors = ("threshold",)

    def _fit(self, head: Head, train: TrainFeatures) -> State:
        inner = pytorch_ood().ReAct(None, head, percentile=self.params["quantile"])
        inner.fit_feature_maps(train.features, train.labels)
        return {"threshold": torch.tensor(inner.threshold, dtype=torch.float64)}

    def _restore(self, state: State, head: Head) -> Any:
        return pytorch_ood().ReAct(None, head, threshold=state["threshold"].item())

    def _predict(self, inner: Any, features: Tensor) -> Tensor:
        scores: Tensor = inner.predict_feature_maps(features.double())
        return scores


class DICE(FittedDetector):
    """Energy of a head that keeps only the weights that contribute most on train ID."""

    tensors = ("masked_weight",)

    def _fit(self, head: Head, train: TrainFeatures) -> State:
        inner = self._new(head)
        inner.fit_features(train.features, train.labels)
        return {"masked_weight": inner.masked_w.double()}

    def _restore(self, state: State, head: Head) -> Any:
        inner = self._new(head)
        inner.masked_w = state["masked_weight"]
        return inner

    def _new(self, head: Head) -> Any:
        return pytorch_ood().DICE(None, w=head.weight, b=head.bias, p=self.params["sparsity"])


class SHE(FittedDetector):
    """Inner product with the mean features of the predicted class's correct train ID images."""

    tensors = ("patterns",)
    every_class = True

    def _fit(self, head: Head, train: TrainFeatures) -> State:
        features = train.features.double()
        correct = head(features).argmax(dim=1) == train.labels
        told = set(train.labels[correct].tolist())
        if untold := sorted(set(range(len(head.weight))) - told):
            raise ValueError(
                f"{self.name}: no train ID image of classes {untold} is classified correctly, so "
                "they have no pattern; train the model first"
            )
        inner = pytorch_ood().SHE(None, head)
        inner.fit_features(features, train.labels)
        return {"patterns": inner.patterns}

    def _restore(self, state: State, head: Head) -> Any:
        inner = pytorch_ood().SHE(None, head)
        inner.patterns = state["patterns"]
        return inner


class Shaping(Detector):
    """Shape the pooled features, as OpenOOD does, or the maps before the pooling (``layer``)."""

    def _score(self, model: nn.Module, images: Tensor) -> Tensor:
        head = head_of(model)
        check_sizes(self.name, self.params, num_features=head.weight.shape[1])
        if self.params["layer"] == "maps":
            activations = maps_of(model, images)
        else:
            activations = features_of(model, images).double()[:, :, None, None]
        size = activations[0].numel() if len(activations) else 1
        if size - round(size * self.params["pruned"]) < 1:
            raise ValueError(
                f"{self.name}.pruned: {self.params['pruned']:g} leaves none of {size} activations"
            )
        scores: Tensor = self._shaper(head).predict_feature_maps(activations)
        return scores

    def _shaper(self, head: Head) -> Any:
        raise NotImplementedError


class ASH(Shaping):
    """Prune the smaller activations; scale (s), keep (p) or level (b) the others."""

    def _shaper(self, head: Head) -> Any:
        return pytorch_ood().ASH(
            None, head, variant=f"ash-{self.params['variant']}", percentile=self.params["pruned"]
        )


class SCALE(Shaping):
    """Scale all activations by exp(sum of all / sum of the larger ones)."""

    def _shaper(self, head: Head) -> Any:
        return pytorch_ood().SCALE(None, head, percentile=self.params["pruned"])
