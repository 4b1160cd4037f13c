"""Logistic regression on the energy, without margins (from VOS, arXiv:2202.01197)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.losses.energy import free_energy
from study.losses.groups import split_groups


class EnergyLogistic(nn.Module):
    """Tell ID from outliers by a logistic function of the energy whose place and slope are learnt.

    (sum_ID softplus(-phi(-E(x))) + sum_OUT softplus(phi(-E(x)))) / B with phi(-E) = scale *
    (centre - E) and B all images: binary cross-entropy of P(ID | x) = sigmoid(phi), the
    uncertainty loss of Du et al., ICLR 2022 (VOS, section 3.2), on real outliers in place of
    virtual ones. As in the authors' code the mean is over both groups together, so that each
    counts by its number of images; the paper's formula has a mean of each, with 128 ID images and
    64 outliers 3/2 of this on ID and 3 times this on outliers.

    What was implemented, where the paper leaves room: phi is affine in the energy (the paper's is
    "possibly non-linear"), the energy has no class weights, and the slope is exp(log_scale), so
    that it stays positive and low energy always means ID. The whole objective is CE(ID) +
    energy_weight * (in_term + out_term). The parameters have to be in the optimizer.

    Attributes:
        log_scale: parameter without dimensions; exp of it is in 1 / nats.
        centre: parameter without dimensions: the energy in nats at which P(ID) is one half.
    """

    def __init__(self, *, scale: float = 1.0, centre: float = 0.0) -> None:
        """Where phi starts.

        Args:
            scale: slope > 0 in 1 / nats.
            centre: energy in nats; halfway between the base's mean energies on ID and on outliers
                is a place from which both groups have a gradient.
        """
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.centre = nn.Parameter(torch.tensor(float(centre)))

    def id_logit(self, energies: Tensor) -> Tensor:
        """phi: log-odds of being ID, any shape, falling with the energy (nats)."""
        return self.log_scale.exp() * (self.centre - energies)

    def forward(
        self, logits: Tensor, num_id: int, *, temperature: float | Tensor = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The two halves of the binary cross-entropy, each a sum over its group by all rows.

        Args:
            logits: class logits of one forward over both groups, shape (B, K), the first
                ``num_id`` rows ID, the rest outliers.
            num_id: number of ID rows, 1 <= num_id < B.
            temperature: T > 0 of the energy, dimensionless, a float or a tensor.

        Returns:
            (in_term, out_term), each without dimensions, in nats, not yet weighted.

        Raises:
            ValueError: if one of the groups is empty, or as `study.losses.energy.free_energy`.
        """
        id_, outliers = split_groups(self.id_logit(free_energy(logits, temperature)), num_id)
        total = len(logits)
        return (
            functional.softplus(-id_).sum() / total,
            functional.softplus(outliers).sum() / total,
        )
