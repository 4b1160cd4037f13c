"""GReg: energies that are right should stay so nearby (Sharifi et al., ECCV 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from study.losses.groups import split_groups


def input_gradient_norms(energies: Tensor, images: Tensor) -> Tensor:
    """Length of the gradient of each image's energy by its own pixels.

    ||d E(x_i) / d x_i||_2, itself differentiable. In training mode batch norm lets an image move
    the energies of the others too; their share is in the gradient, as in any such code.

    Args:
        energies: of ``images``, with their graph, shape (B,).
        images: the tensor that the model was given, ``requires_grad`` set before the forward,
            shape (B, ...).

    Returns:
        Shape (B,), in the energies' unit per unit of the images: nats per full scale for images
        in [0, 1].

    Raises:
        ValueError: if the shapes do not fit, or the energies do not depend on ``images``.
    """
    if energies.ndim != 1 or len(energies) != len(images):
        raise ValueError(
            f"energies {tuple(energies.shape)} and images {tuple(images.shape)} must be (B,) and "
            "(B, ...)"
        )
    if not images.requires_grad or not energies.requires_grad:
        raise ValueError(
            "images: no gradient is kept; call images.requires_grad_() before the forward"
        )
    (gradient,) = torch.autograd.grad(energies.sum(), images, create_graph=True)
    norms: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return norms


def gradient_regularisation(
    norms: Tensor, energies: Tensor, num_id: int, *, m_in: float | Tensor, m_out: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Mean gradient length of each group, over the images that meet their margin.

    mean_ID ||grad_x E|| [E <= m_in] and mean_OUT ||grad_x E|| [E >= m_out] (arXiv:2404.12368).
    An image on the wrong side of its margin counts 0 here: the hinges of
    `study.losses.energy.energy_margin_loss` move it. The whole objective is CE(ID) +
    energy_weight * hinges + gradient_weight * (in_term + out_term).

    What was implemented: the formula as it is known from a description of the paper: the plain
    2-norm of each image's own gradient, and means over the whole group, not over the images that
    meet the margin. The authors' code takes the gradient of the groups' mean energies and averages
    its norms over the whole batch, on normalised pixels: on 128 ID images, 64 outliers and
    CIFAR-10's deviations (B / std) its weight of 1 is 1/849 of this formula's, .0012. The paper's
    energy-based choice of outliers is not part of it.

    Args:
        norms: from `input_gradient_norms`, shape (B,), the first ``num_id`` rows ID.
        energies: of the same images in nats, shape (B,).
        num_id: number of ID rows, 1 <= num_id < B.
        m_in: energy in nats that ID images should stay below.
        m_out: energy in nats that outliers should stay above.

    Returns:
        (in_term, out_term), each without dimensions, in nats per full scale of the images, not
        yet weighted.

    Raises:
        ValueError: if one of the groups is empty, or the shapes differ.
    """
    if norms.shape != energies.shape:
        raise ValueError(
            f"norms {tuple(norms.shape)} and energies {tuple(energies.shape)} must be equal, (B,)"
        )
    id_norms, out_norms = split_groups(norms, num_id)
    id_energies, out_energies = split_groups(energies.detach(), num_id)
    in_term = torch.where(id_energies <= m_in, id_norms, 0.0).mean()
    out_term = torch.where(out_energies >= m_out, out_norms, 0.0).mean()
    return in_term, out_term
