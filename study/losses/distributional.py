"""DAL: Outlier Exposure on features moved to the worst case (Wang et al., NeurIPS 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.losses.outlier_exposure import uniform_cross_entropy


@torch.no_grad()
def worst_case_shift(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    penalty: float | Tensor,
    steps: int,
    step_size: float | Tensor,
) -> Tensor:
    """Where to move each outlier's features so that its Outlier Exposure loss grows.

    ``steps`` steps of length ``step_size`` up the gradient of OE(head(z + d)) - penalty *
    mean_j |d_j|, from d = 0, each row on its own. The gradient is exact: weight^T (p - 1/K) -
    penalty * sign(d) / D, p being the softmax of the moved features' logits.

    Args:
        features: of outliers, shape (M, D).
        weight: of the linear head, shape (K, D).
        bias: of the linear head, shape (K,).
        penalty: price in nats of a unit of mean |d|, >= 0; the paper's gamma.
        steps: number of steps, >= 1.
        step_size: Euclidean length of a step, in the features' unit.

    Returns:
        d, shape (M, D), without gradient. A row whose gradient is 0 stays where it is.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if features.ndim != 2 or weight.shape[1:] != features.shape[1:] or len(bias) != len(weight):
        raise ValueError(
            f"features {tuple(features.shape)}, weight {tuple(weight.shape)} and bias "
            f"{tuple(bias.shape)} must be (M, D), (K, D) and (K,)"
        )
    num_classes, width = weight.shape
    shift = torch.zeros_like(features)
    for _ in range(steps):
        probabilities = functional.linear(features + shift, weight, bias).softmax(dim=1)
        gradient = (probabilities - 1 / num_classes) @ weight - penalty * shift.sign() / width
        shift = shift + step_size * functional.normalize(gradient, dim=1)
    return shift


class DistributionalAugmentation(nn.Module):
    """OE at the worst features within a Wasserstein-like ball around the outliers' own.

    mean_OUT OE(head(z + d)) with d of `worst_case_shift` and OE of
    `study.losses.outlier_exposure` (arXiv:2311.01796). The penalty that keeps mean |d| near
    ``radius`` is a dual variable: after each training step penalty <- clip(penalty + rate *
    (mean |d| - radius), 0, max_penalty). The whole objective is CE(ID) + oe_weight * this term.

    What was implemented: Outlier Exposure at moved features with a learnt Lagrange multiplier, as
    the method is known from descriptions; not checked against the paper's equations or its code.
    Ours: d starts at 0, not at small noise, so that nothing is drawn; the multiplier is updated
    by the last d; and the gradient is computed, not traced. The recipe's defaults are
    those of the authors' command for CIFAR-10 (`study.recipes.outlier_losses.distributional`).

    Attributes:
        penalty: buffer without dimensions; saved with the state.
    """

    penalty: Tensor

    def __init__(
        self,
        *,
        radius: float | Tensor,
        steps: int,
        step_size: float | Tensor,
        rate: float | Tensor,
        penalty: float | Tensor,
        max_penalty: float | Tensor,
    ) -> None:
        """Size of the ball, and how the multiplier follows it.

        Args:
            radius: mean |d| that the multiplier aims at, > 0, in the features' unit.
            steps: steps up the gradient, >= 1.
            step_size: Euclidean length of a step, > 0, in the features' unit.
            rate: of the multiplier, >= 0; 0 keeps it where it starts.
            penalty: the multiplier's start in nats per unit of mean |d|, in [0, max_penalty].
            max_penalty: its ceiling.
        """
        super().__init__()
        self.radius, self.steps, self.step_size = radius, steps, step_size
        self.rate, self.max_penalty = rate, max_penalty
        self.register_buffer("penalty", torch.as_tensor(penalty, dtype=torch.float32).clone())

    def forward(self, features: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Outlier Exposure at the moved features; in training mode the multiplier moves on.

        Args:
            features: penultimate features of the outliers alone, shape (M, D), M >= 1.
            weight: of the linear head, shape (K, D).
            bias: of the linear head, shape (K,).

        Returns:
            (OE term in nats, without dimensions, not yet weighted, with gradients to the features
            and the head; mean |d| in the features' unit, without gradient).

        Raises:
            ValueError: if there is no outlier, or as `worst_case_shift`.
        """
        if not len(features):
            raise ValueError("features: no row; the loss needs outliers")
        shift = worst_case_shift(
            features,
            weight,
            bias,
            penalty=self.penalty,
            steps=self.steps,
            step_size=self.step_size,
        )
        distance = shift.abs().mean()
        if self.training:
            moved = self.penalty + self.rate * (distance - self.radius)
            self.penalty.copy_(moved.clamp(min=0.0).clamp(max=self.max_penalty))
        logits = functional.linear(features + shift, weight, bias)
        return uniform_cross_entropy(logits).mean(), distance
