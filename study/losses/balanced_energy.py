"""Balanced energy regularisation (Choi, Jeong and Choi, CVPR 2023, arXiv:2306.10485)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from study.losses.energy import free_energy
from study.losses.groups import at_least_float32, split_groups


def class_prior(predictions: Tensor, num_classes: int) -> Tensor:
    """How the auxiliary images spread over the ID classes, by a trained model's predictions.

    Args:
        predictions: predicted class of each outlier, int64 in [0, num_classes), shape (N,).
        num_classes: K >= 1.

    Returns:
        Share of each class, float32, shape (K,), sums to 1. A class that is never predicted has 0.

    Raises:
        ValueError: if there is no prediction, or one is outside the range.
    """
    if predictions.ndim != 1 or not len(predictions):
        raise ValueError(f"predictions: shape {tuple(predictions.shape)}, must be (N,), N >= 1")
    lowest, highest = int(predictions.min()), int(predictions.max())
    if lowest < 0 or highest >= num_classes:
        raise ValueError(f"predictions: from {lowest} to {highest}, must be in [0, {num_classes})")
    counts = torch.bincount(predictions, minlength=num_classes)
    return counts.to(torch.float32) / len(predictions)


def prior_weights(logits: Tensor, prior: Tensor, gamma: float | Tensor) -> Tensor:
    """Z of each input: its expected prior^gamma; larger where its class is common.

    Z(x) = sum_y p(y | x) q_y with p the softmax of the logits and q = prior^gamma, made to sum to
    1 as in the authors' code: so Z is about 1 / K, whatever gamma is.

    Args:
        logits: class logits, shape (N, K).
        prior: share of each class among the outliers, shape (K,), see `class_prior`.
        gamma: >= 0, dimensionless, a float or a tensor; 0 gives every input the weight 1 / K.

    Returns:
        Weights in [0, 1], shape (N,), with gradient to the logits.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if logits.ndim != 2 or prior.shape != logits.shape[1:]:
        raise ValueError(
            f"logits {tuple(logits.shape)} and prior {tuple(prior.shape)} must be (N, K) and (K,)"
        )
    powers = prior**gamma
    return (at_least_float32(logits).softmax(dim=1) * (powers / powers.sum())).sum(dim=1)


def balanced_energy_loss(
    logits: Tensor,
    num_id: int,
    *,
    m_in: float | Tensor,
    m_out: float | Tensor,
    prior: Tensor,
    gamma: float | Tensor,
    alpha: float | Tensor,
    temperature: float | Tensor = 1.0,
) -> tuple[Tensor, Tensor]:
    """The energy hinges, with outliers of common classes weighted and pushed more.

    mean_ID relu(E(x) - m_in)^2 and sum_OUT Z(x) relu(m_out + alpha Z(x) - E(x))^2 / sum_OUT Z(x)
    with Z of `prior_weights`. gamma = 0 and alpha = 0 give
    `study.losses.energy.energy_margin_loss`. The whole objective is CE(ID) + energy_weight *
    (in_term + out_term).

    What was implemented: what the authors' code does, from a description of it. It differs from
    the paper's formula in three things: the outliers' term is divided by the sum of the weights,
    not by their number; prior^gamma is made to sum to 1, so that gamma moves the weights apart but
    not their size (without either, gamma .75 leaves a seventh of the term); and Z has a gradient,
    so that a model can lower the loss by naming an outlier's class anew.

    Args:
        logits: class logits of one forward over both groups, shape (B, K), the first ``num_id``
            rows ID, the rest outliers.
        num_id: number of ID rows, 1 <= num_id < B.
        m_in: energy in nats that ID images should stay below.
        m_out: energy in nats that outliers should stay above, where Z is 0.
        prior: share of each class among the outliers, shape (K,).
        gamma: power of the prior, >= 0, dimensionless.
        alpha: nats that the outlier margin moves up per unit of Z.
        temperature: T > 0 of the energy, dimensionless.

    Returns:
        (in_term, out_term), each without dimensions, in nats squared, not yet weighted.

    Raises:
        ValueError: if one of the groups is empty, or as `prior_weights` and
            `study.losses.energy.free_energy`.
    """
    id_energies, out_energies = split_groups(free_energy(logits, temperature), num_id)
    weights = prior_weights(logits[num_id:], prior, gamma)
    in_term = functional.relu(id_energies - m_in).square().mean()
    hinges = functional.relu(m_out + alpha * weights - out_energies).square()
    # Where every outlier is named a class that none had at first, weights may all round to 0.
    total = weights.sum().clamp_min(torch.finfo(weights.dtype).eps)
    return in_term, (weights * hinges).sum() / total
