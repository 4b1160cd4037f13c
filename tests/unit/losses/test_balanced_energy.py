import math

import pytest
import torch

from study.losses.balanced_energy import balanced_energy_loss, class_prior, prior_weights
from study.losses.energy import energy_margin_loss

LOGITS = 5 * torch.randn(9, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
PRIOR = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=torch.float64)
MARGINS = {"m_in": -9.0, "m_out": -6.0}


def test_class_prior_counts_predictions():
    assert class_prior(torch.tensor([0, 2, 2, 0, 2]), 4).tolist() == pytest.approx(
        [0.4, 0, 0.6, 0]
    )


def test_balanced_energy_loss_matches_hand_computed_values():
    # Logits (log 3, 0): p = (3/4, 1/4), energy -log 4; the last row the other way round.
    # prior^gamma = (.01, .16)^.5 = (.1, .4), made to sum to 1: (.2, .8).
    logits = torch.tensor([[math.log(3), 0.0]] * 2 + [[0.0, math.log(3)]], dtype=torch.float64)
    prior = torch.tensor([0.01, 0.16], dtype=torch.float64)
    in_term, out_term = balanced_energy_loss(
        logits, 1, m_in=-2.0, m_out=-1.0, prior=prior, gamma=0.5, alpha=2.0
    )
    one, two = 0.75 * 0.2 + 0.25 * 0.8, 0.25 * 0.2 + 0.75 * 0.8
    hinge_one, hinge_two = ((-1 + 2 * z + math.log(4)) ** 2 for z in (one, two))
    assert float(in_term) == pytest.approx((2 - math.log(4)) ** 2)
    assert float(out_term) == pytest.approx((one * hinge_one + two * hinge_two) / (one + two))


def test_balanced_energy_loss_without_power_and_shift_is_the_margin_loss():
    ours = balanced_energy_loss(
        LOGITS, 4, **MARGINS, prior=PRIOR, gamma=0.0, alpha=0.0, temperature=1.5
    )
    plain = energy_margin_loss(LOGITS, 4, **MARGINS, temperature=1.5)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other)


def test_prior_weights_of_the_common_class_are_larger():
    weights = prior_weights(20 * torch.eye(4, dtype=torch.float64), PRIOR, 1.0)
    assert weights.tolist() == pytest.approx(PRIOR.tolist(), abs=1e-6)


def test_balanced_energy_loss_gradient_goes_through_the_weights_too():
    logits = LOGITS.clone().requires_grad_()

    def out_term(values):
        return balanced_energy_loss(values, 4, **MARGINS, prior=PRIOR, gamma=0.5, alpha=1.0)[1]

    out_term(logits).backward()
    assert torch.autograd.gradcheck(out_term, (logits,))
    # By the chain rule through the energy alone, whose gradient is -softmax.
    weights, energies = prior_weights(LOGITS[4:], PRIOR, 0.5), -LOGITS[4:].logsumexp(dim=1)
    hinges = torch.relu(MARGINS["m_out"] + weights - energies)
    alone = (2 * weights * hinges / weights.sum())[:, None] * LOGITS[4:].softmax(dim=1)
    assert (logits.grad[4:] - alone).abs().max() > 1e-3


def test_balanced_energy_loss_tensor_scalars_give_same_values():
    scalars = {**MARGINS, "gamma": 0.75, "alpha": 3.0, "temperature": 2.0}
    floats = balanced_energy_loss(LOGITS, 4, prior=PRIOR, **scalars)
    as_tensors = {name: torch.tensor(value) for name, value in scalars.items()}
    tensors = balanced_energy_loss(LOGITS, 4, prior=PRIOR, **as_tensors)
    for one, other in zip(floats, tensors, strict=True):
        torch.testing.assert_close(one, other)


def test_balanced_energy_loss_under_vmap_equals_loop_over_powers():
    powers = torch.tensor([0.0, 0.5, 2.0])

    def out_term(gamma):
        return balanced_energy_loss(LOGITS, 4, **MARGINS, prior=PRIOR, gamma=gamma, alpha=1.0)[1]

    apart = [out_term(float(power)) for power in powers]
    torch.testing.assert_close(torch.vmap(out_term)(powers), torch.stack(apart))


def test_balanced_energy_bad_arguments_raise():
    with pytest.raises(ValueError, match="num_id: 9 of 9"):
        balanced_energy_loss(LOGITS, 9, **MARGINS, prior=PRIOR, gamma=1.0, alpha=0.0)
    with pytest.raises(ValueError, match="prior"):
        prior_weights(LOGITS, PRIOR[:3], 1.0)


@pytest.mark.parametrize("predictions", [[], [0, 4], [-1, 0]])
def test_class_prior_bad_predictions_raise(predictions):
    with pytest.raises(ValueError, match="predictions"):
        class_prior(torch.tensor(predictions, dtype=torch.int64), 4)


def test_outliers_of_no_weight_at_all_leave_a_finite_gradient() -> None:
    logits = torch.tensor([[300.0, 0.0], [300.0, 0.0], [250.0, -50.0]], requires_grad=True)
    terms = balanced_energy_loss(
        logits, 1, m_in=-4.0, m_out=-1.0, prior=torch.tensor([0.0, 1.0]), gamma=0.05, alpha=10.0
    )
    sum(terms).backward()
    assert torch.isfinite(logits.grad).all()
