import math

import pytest
import torch

from study.losses.energy import energy_margin_loss, free_energy
from study.scoring.scores import energy

# Two equal logits a give the energy -(a + log 2) at T = 1.
LOG2 = math.log(2)


def rows(*energies):
    return torch.tensor([[-e - LOG2, -e - LOG2] for e in energies], dtype=torch.float64)


def test_free_energy_equals_evaluation_score():
    logits = torch.randn(20, 10, generator=torch.Generator().manual_seed(0))
    for temperature in (0.5, 1.0, 10.0):
        torch.testing.assert_close(
            free_energy(logits.double(), temperature),
            torch.from_numpy(energy(logits, temperature)),
        )


def test_energy_margin_loss_matches_hand_computed_values():
    logits = rows(-26, -20, -4, -8, -2)
    in_term, out_term = energy_margin_loss(logits, 2, m_in=-23, m_out=-5)
    # ID -26 is below the margin, -20 is 3 above; outliers -4 and -2 are above, -8 is 3 below.
    assert float(in_term) == pytest.approx(9 / 2)
    assert float(out_term) == pytest.approx(9 / 3)


def test_energy_margin_loss_at_met_margins_is_zero_with_zero_gradient():
    logits = rows(-30, -1).requires_grad_()
    in_term, out_term = energy_margin_loss(logits, 1, m_in=-23, m_out=-5)
    (in_term + out_term).backward()
    assert in_term.item() == out_term.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_energy_margin_loss_gradient_pushes_groups_apart():
    logits = rows(-10, -10).requires_grad_()
    sum(energy_margin_loss(logits, 1, m_in=-23, m_out=-5)).backward()
    # A step against the gradient raises ID logits (lower energy) and lowers outlier logits.
    assert (logits.grad[0] < 0).all()
    assert (logits.grad[1] > 0).all()


def test_energy_margin_loss_temperature_scales_energy():
    logits = torch.tensor([[2.0, 2.0], [4.0, 4.0]], dtype=torch.float64)
    in_term, out_term = energy_margin_loss(logits, 1, m_in=-5.0, m_out=-1.0, temperature=2.0)
    assert float(in_term) == pytest.approx((5 - (2 + 2 * LOG2)) ** 2)
    assert float(out_term) == pytest.approx((4 + 2 * LOG2 - 1) ** 2)


def test_energy_margin_loss_tensor_scalars_give_same_values():
    logits = rows(-26, -20, -4, -8)
    floats = energy_margin_loss(logits, 2, m_in=-23.0, m_out=-5.0, temperature=1.5)
    tensors = energy_margin_loss(
        logits,
        2,
        m_in=torch.tensor(-23.0),
        m_out=torch.tensor(-5.0),
        temperature=torch.tensor(1.5),
    )
    for one, other in zip(floats, tensors, strict=True):
        torch.testing.assert_close(one, other)


def test_energy_margin_loss_under_vmap_equals_loop_over_margins():
    logits, margins = rows(-26, -20, -4, -8), torch.tensor([-25.0, -21.0, -19.0])
    together = torch.vmap(lambda m: energy_margin_loss(logits, 2, m_in=m, m_out=-5.0)[0])(margins)
    apart = [energy_margin_loss(logits, 2, m_in=float(m), m_out=-5.0)[0] for m in margins]
    torch.testing.assert_close(together, torch.stack(apart))


def test_energy_margin_loss_agrees_with_pytorch_ood():
    oracle = pytest.importorskip("pytorch_ood.loss").EnergyRegularizedLoss
    logits = 8 * torch.randn(12, 10, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([*range(5), *([-1] * 7)])
    expected = oracle(alpha=1.0, margin_in=-15.0, margin_out=-12.0)(logits, labels)
    in_term, out_term = energy_margin_loss(logits, 5, m_in=-15.0, m_out=-12.0)
    cross_entropy = torch.nn.functional.cross_entropy(logits[:5], labels[:5])
    torch.testing.assert_close(cross_entropy + in_term + out_term, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_free_energy_of_half_precision_is_float32(dtype):
    assert free_energy(torch.ones(2, 3, dtype=dtype)).dtype == torch.float32


@pytest.mark.parametrize("num_id", [0, 2, 3, -1])
def test_energy_margin_loss_empty_group_raises(num_id):
    with pytest.raises(ValueError, match=f"num_id: {num_id} of 2"):
        energy_margin_loss(rows(-1, -2), num_id, m_in=-23, m_out=-5)


def test_free_energy_bad_arguments_raise():
    with pytest.raises(ValueError, match="temperature"):
        free_energy(rows(-1), 0.0)
    with pytest.raises(ValueError, match=r"must be \(N, K\)"):
        free_energy(torch.zeros(3))
