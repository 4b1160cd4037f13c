"""OOD scores from features: distance to class prototypes, cosine kNN, a z-scored combination.

Fitted on train ID features and on the scores of validation ID, never on an OOD image. Everything
is computed in float64 on the device of the features and returned on the CPU; higher means more
OOD. The cosine with a zero vector counts as 0.

What is fitted are tensors, to be stored beside the model's weights:

    prototypes = class_prototypes(train_features, labels, 10)
    scores = {"prototype": prototype_score(val_features, prototypes)}
    scores["knn"] = knn_score(val_features, train_features, k=5)
    fitted = fit_zscores(scores)                          # of validation ID
    combined = combined_score(scores_of_others, fitted)   # the same names
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Scores = Tensor | NDArray[np.floating]

_CHUNK: Final = 2**22  # similarities held at a time: 32 MB
_Z: Final = ".z"
_ROUNDING: Final = 1e-12  # spread over size, below which scores differ by rounding alone


def unit_rows(features: Tensor) -> Tensor:
    """Rows brought to length 1; a zero row stays zero.

    Args:
        features: (N, D), any float dtype and device.

    Returns:
        (N, D) float64, on the device of ``features``.

    Raises:
        ValueError: if ``features`` is not 2-D.
    """
    if features.ndim != 2:
        raise ValueError(f"features: shape {tuple(features.shape)}, must be (N, D)")
    # The largest entry first: squares of huge or tiny ones leave even float64.
    rows = features.detach().double()
    size = rows.abs().amax(dim=1, keepdim=True)
    return functional.normalize(rows / torch.where(size > 0, size, 1.0), dim=1)


def class_prototypes(features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Mean direction of each class: the unit-norm mean of its unit-norm features.

    Args:
        features: of train ID images, (N, D).
        labels: their classes in [0, num_classes), integers, (N,).
        num_classes: K.

    Returns:
        (K, D) float64, on the device of ``features``.

    Raises:
        ValueError: if a class has no image, a label is out of range, features are not finite, or
            the shapes do not fit.
    """
    rows = _finite(features)
    if labels.shape != rows.shape[:1]:
        raise ValueError(
            f"labels {tuple(labels.shape)} must be one for each of {len(rows)} features"
        )
    labels = labels.to(rows.device, torch.int64)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(f"labels: {int(labels.min())} to {int(labels.max())}, must be in "
                         f"[0, {num_classes})")  # fmt: skip
    counts = labels.bincount(minlength=num_classes)
    if empty := (counts == 0).nonzero().flatten().tolist():
        raise ValueError(
            f"classes {empty} have no image, and so no prototype; fit on images of every class"
        )
    # A product, since index_add_ on CUDA adds in an order that changes from run to run.
    members = functional.one_hot(labels, num_classes).double()
    return unit_rows(members.T @ rows)


def prototype_score(features: Tensor, prototypes: Tensor) -> Tensor:
    """1 - max_c cos(u, prototype of class c), in [0, 2].

    Args:
        features: u, (N, D).
        prototypes: (K, D), as from `class_prototypes`.

    Returns:
        (N,) float64 on the CPU.

    Raises:
        ValueError: if the widths differ.
    """
    rows, prototypes = _matching(features, prototypes, "prototypes")
    return _distance((rows @ prototypes.T).amax(dim=1)).cpu()


def knn_score(features: Tensor, bank: Tensor, k: int) -> Tensor:
    """1 - cosine to the k-th nearest feature of the bank (Sun et al. 2022, arXiv:2204.06507).

    They state it as the Euclidean distance of unit vectors (section 3), which is sqrt(2) times
    the root of this score and orders images the same way. Their k is 50 for all 50,000 training
    images of CIFAR-10; for a bank of a tenth of them, k = 5 looks as far. An image that is itself
    in the bank is its own nearest neighbour.

    Args:
        features: (N, D).
        bank: features of train ID images, (M, D).
        k: neighbours, 1 <= k <= M.

    Returns:
        (N,) float64 on the CPU, in [0, 2]. Memory stays near 32 MB beside the inputs in float64.

    Raises:
        ValueError: if the widths differ or k is out of range.
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f"k: {k} must be from 1 to the {len(bank)} features of the bank")
    rows, bank = _matching(features, bank, "bank")
    parts = []
    for part in torch.split(rows, max(1, _CHUNK // len(bank))):
        parts.append((part @ bank.T).topk(k, dim=1).values[:, -1])
    return _distance(torch.cat(parts)).cpu()


@dataclass(frozen=True)
class ZScore:
    """Mean and standard deviation (ddof 0) of a score on validation ID.

    Attributes:
        mean: in units of the score.
        std: the same; 0 for a score that is constant but for rounding, which then has nothing to
            say and gives 0 for every image.
    """

    mean: float
    std: float

    @classmethod
    def fit(cls, scores: Scores) -> Self:
        """Of the scores of validation ID images, (N,) with N >= 1.

        Raises:
            ValueError: if there are none, or one is not finite.
        """
        values = _values(scores)
        if values.ndim != 1 or not len(values) or not bool(values.isfinite().all()):
            raise ValueError(f"scores: {tuple(values.shape)}, must be (N,), N >= 1, and finite")
        std = float(values.std(correction=0))
        constant = std <= _ROUNDING * float(values.abs().max())
        return cls(float(values.mean()), 0.0 if constant else std)

    def of(self, scores: Scores) -> Tensor:
        """(score - mean) / std, (N,) float64; zeros where ``std`` is 0."""
        values = _values(scores)
        return (values - self.mean) / self.std if self.std else torch.zeros_like(values)


def combined_score(scores: Mapping[str, Scores], fitted: Mapping[str, Tensor]) -> Tensor:
    """Mean of the z-scores of several scores.

    A component that was constant on validation ID counts as 0 for every image.

    Args:
        scores: score name -> (N,), higher = more OOD.
        fitted: as from `fit_zscores` for the same names, among other tensors.

    Returns:
        (N,) float64, in standard deviations of validation ID.

    Raises:
        ValueError: if the names differ or there are none.
    """
    stats = {
        key.removesuffix(_Z): ZScore(*values.tolist())
        for key, values in fitted.items()
        if key.endswith(_Z)
    }
    if odd := sorted(scores.keys() ^ stats.keys()):
        raise ValueError(f"scores: {odd} must be in both them and the fitted {[*stats]}")
    if not stats:
        raise ValueError("scores: there is none to combine")
    return torch.stack([stats[name].of(scores[name]) for name in stats]).sum(dim=0) / len(stats)


def fit_zscores(scores: Mapping[str, Scores]) -> dict[str, Tensor]:
    """Mean and deviation of each score on validation ID, as tensors: ``{score}.z``, (2,) float64.

    Raises:
        ValueError: naming the score, as `ZScore.fit`.
    """
    fitted = {}
    for name, values in scores.items():
        try:
            one = ZScore.fit(values)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        fitted[name + _Z] = torch.tensor([one.mean, one.std], dtype=torch.float64)
    return fitted


def _finite(features: Tensor) -> Tensor:
    rows = unit_rows(features)
    if bad := int((~features.isfinite()).any(dim=1).sum()):
        raise ValueError(f"features: {bad} of {len(features)} rows are not finite")
    return rows


def _matching(features: Tensor, fitted: Tensor, what: str) -> tuple[Tensor, Tensor]:
    rows, other = unit_rows(features), unit_rows(fitted.to(features.device))
    if rows.shape[1] != other.shape[1]:
        raise ValueError(f"features of width {rows.shape[1]} against {what} of {other.shape[1]}")
    return rows, other


def _distance(cosine: Tensor) -> Tensor:
    return 1.0 - cosine.clamp(-1.0, 1.0)  # rounding leaves [-1, 1]


def _values(scores: Scores) -> Tensor:
    return torch.as_tensor(scores, dtype=torch.float64, device="cpu").detach()
