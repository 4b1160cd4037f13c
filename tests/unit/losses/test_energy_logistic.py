import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from study.losses.energy import free_energy
from study.losses.energy_logistic import EnergyLogistic

LOG2 = math.log(2)


def rows(*energies):
    return torch.tensor([[-e - LOG2, -e - LOG2] for e in energies], dtype=torch.float64)


def test_energy_logistic_matches_hand_computed_values():
    loss = EnergyLogistic(scale=2.0, centre=-10.0)
    in_term, out_term = loss(rows(-11, -10, -9), 1)
    # Log-odds of ID: 2, 0 and -2.
    assert in_term.item() == pytest.approx(math.log(1 + math.exp(-2)) / 3, rel=1e-6)
    assert out_term.item() == pytest.approx((LOG2 + math.log(1 + math.exp(-2))) / 3, rel=1e-6)


def test_energy_logistic_is_binary_cross_entropy_over_both_groups():
    logits = 5 * torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    loss = EnergyLogistic(scale=0.7, centre=-4.0)
    log_odds = 0.7 * (-4.0 - free_energy(logits, 1.5))
    expected = [
        functional.binary_cross_entropy_with_logits(part, torch.full_like(part, target))
        * len(part)
        / 9
        for part, target in ((log_odds[:4], 1.0), (log_odds[4:], 0.0))
    ]
    for ours, theirs in zip(loss(logits, 4, temperature=1.5), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_energy_logistic_agrees_with_pytorch_ood():
    oracle = pytest.importorskip("pytorch_ood.loss").VOSRegLoss
    logits = 5 * torch.randn(12, 10, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([*range(5), *([-1] * 7)])
    # Its two logits for (OOD, ID), with class weights of 1: phi is their difference.
    phi, weights = nn.Linear(1, 2), nn.Linear(10, 1)
    with torch.no_grad():
        weights.weight.fill_(1.0)
        phi.weight.copy_(torch.tensor([[0.0], [-0.7]]))
        phi.bias.copy_(torch.tensor([0.0, 0.7 * -6.0]))
    in_term, out_term = EnergyLogistic(scale=0.7, centre=-6.0)(logits, 5)
    ours = functional.cross_entropy(logits[:5], labels[:5])
    ours = ours + 0.3 * (in_term + out_term)
    torch.testing.assert_close(oracle(phi, weights, alpha=0.3)(logits, labels), ours)


def test_energy_logistic_learns_the_centre_between_two_groups():
    loss = EnergyLogistic(centre=-3.0)
    assert {name for name, _ in loss.named_parameters()} == {"log_scale", "centre"}
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.5)
    logits = rows(-14, -12, -8, -6)
    for _ in range(200):
        optimizer.zero_grad()
        sum(loss(logits, 2)).backward()
        optimizer.step()
    assert -12 < loss.centre.item() < -8


def test_energy_logistic_gradient_pushes_groups_apart():
    logits = rows(-10, -10).requires_grad_()
    sum(EnergyLogistic(centre=-10.0)(logits, 1)).backward()
    assert (logits.grad[0] < 0).all()
    assert (logits.grad[1] > 0).all()


def test_energy_logistic_far_from_the_centre_stays_finite():
    logits = rows(1e4, -1e4).requires_grad_()
    terms = EnergyLogistic()(logits, 1)
    sum(terms).backward()
    assert [term.item() for term in terms] == pytest.approx([5e3, 5e3])
    assert torch.isfinite(logits.grad).all()


def test_energy_logistic_under_vmap_equals_loop_over_parameters():
    loss, logits = EnergyLogistic(), rows(-12, -11, -9).float()
    stacked = {"log_scale": torch.tensor([0.0, 0.5]), "centre": torch.tensor([-10.0, -11.0])}

    def in_term(parameters):
        return torch.func.functional_call(loss, parameters, (logits, 1))[0]

    together = torch.vmap(in_term)(stacked)
    apart = [in_term({name: one[k] for name, one in stacked.items()}) for k in range(2)]
    torch.testing.assert_close(together, torch.stack(apart))


@pytest.mark.parametrize("num_id", [0, 2])
def test_energy_logistic_empty_group_raises(num_id):
    with pytest.raises(ValueError, match=f"num_id: {num_id} of 2"):
        EnergyLogistic()(rows(-1, -2), num_id)
