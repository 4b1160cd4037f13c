"""The energy margin loss of Liu et al. 2020 (arXiv:2010.03759, Eq. 8 and 9)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from study.losses.groups import at_least_float32, split_groups


def free_energy(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Free energy of each input; higher means more OOD.

    -T logsumexp(f(x)/T) (Liu et al. 2020, arXiv:2010.03759, Eq. 4). With gradients and on the
    device; `study.scoring.scores.energy` is the float64 form for evaluation.

    Args:
        logits: class logits, shape (N, K). Half precision is raised to float32 first.
        temperature: T > 0, dimensionless, a float or a tensor without dimensions.

    Returns:
        Energies in nats, shape (N,), on the device of ``logits``.

    Raises:
        ValueError: if ``logits`` is not 2-D, or ``temperature`` is a float <= 0.
    """
    if logits.ndim != 2:
        raise ValueError(f"logits: shape {tuple(logits.shape)}, must be (N, K)")
    # A tensor is not compared: that would make the device wait, and fails under vmap.
    if not isinstance(temperature, Tensor) and temperature <= 0:
        raise ValueError(f"temperature: {temperature} must be above 0")
    return -temperature * (at_least_float32(logits) / temperature).logsumexp(dim=1)


def energy_margin_loss(
    logits: Tensor,
    num_id: int,
    *,
    m_in: float | Tensor,
    m_out: float | Tensor,
    temperature: float | Tensor = 1.0,
) -> tuple[Tensor, Tensor]:
    """The two squared hinges on the energy, each the mean over its own group.

    mean_ID relu(E(x) - m_in)^2 and mean_OUT relu(m_out - E(x))^2. The whole objective is
    CE(ID) + energy_weight * (in_term + out_term), energy_weight being the paper's lambda.
    ID images below ``m_in`` and outliers above ``m_out`` cost nothing.

    Args:
        logits: class logits of one forward over both groups, shape (B, K), the first ``num_id``
            rows ID, the rest outliers.
        num_id: number of ID rows, 1 <= num_id < B.
        m_in: energy in nats that ID images should stay below, a float or a tensor.
        m_out: energy in nats that outliers should stay above; usually above ``m_in``.
        temperature: T > 0, dimensionless.

    Returns:
        (in_term, out_term), each without dimensions, in nats squared, not yet weighted.

    Raises:
        ValueError: if one of the groups is empty, or as `free_energy`.
    """
    id_energies, out_energies = split_groups(free_energy(logits, temperature), num_id)
    in_term = functional.relu(id_energies - m_in).square().mean()
    out_term = functional.relu(m_out - out_energies).square().mean()
    return in_term, out_term
