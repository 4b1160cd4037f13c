import pytest
import torch

from study.losses.energy import free_energy
from study.losses.gradient_regularisation import gradient_regularisation, input_gradient_norms
from study.models.registry import build_classifier


def test_input_gradient_norms_of_a_linear_energy_match_hand_computed_values():
    images = torch.zeros(2, 1, 1, 2, dtype=torch.float64).requires_grad_()
    slopes = torch.tensor([[3.0, 4.0], [0.0, -2.0]], dtype=torch.float64)
    energies = (images.flatten(1) * slopes).sum(dim=1)
    assert input_gradient_norms(energies, images).tolist() == pytest.approx([5.0, 2.0])


def test_input_gradient_norms_equal_finite_differences():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    images = torch.randn(3, 6, generator=generator, dtype=torch.float64).requires_grad_()
    ours = input_gradient_norms(free_energy(images.tanh() @ weight.T), images)
    step = 1e-6 * torch.eye(6, dtype=torch.float64)
    for row, norm in zip(images.detach(), ours, strict=True):
        up, down = (free_energy((row + sign * step).tanh() @ weight.T) for sign in (1, -1))
        assert norm.item() == pytest.approx(((up - down) / 2e-6).norm().item(), rel=1e-6)


def test_gradient_regularisation_matches_hand_computed_values():
    norms = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    energies = torch.tensor([-30.0, -20.0, -23.0, -4.0, -5.0])
    in_term, out_term = gradient_regularisation(norms, energies, 3, m_in=-23.0, m_out=-4.0)
    # ID: -30 and -23 meet the margin, -20 does not; outliers: -4 does, -5 does not.
    assert float(in_term) == pytest.approx((1 + 4) / 3)
    assert float(out_term) == pytest.approx(8 / 2)


def test_gradient_regularisation_trains_the_weights():
    weight = torch.tensor([[1.0, -2.0], [3.0, 1.0]]).requires_grad_()
    images = torch.ones(4, 2).requires_grad_()
    optimizer = torch.optim.SGD([weight], lr=0.1)
    seen = []
    for _ in range(5):
        energies = free_energy(images @ weight)
        norms = input_gradient_norms(energies, images)
        loss = sum(gradient_regularisation(norms, energies, 2, m_in=99.0, m_out=-99.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 0.9 * seen[0]


def test_gradient_regularisation_of_a_flat_energy_has_finite_gradient():
    weight = torch.zeros(3, 2).requires_grad_()
    images = torch.ones(2, 3).requires_grad_()
    energies = free_energy(images @ weight)
    norms = input_gradient_norms(energies, images)
    sum(gradient_regularisation(norms, energies, 1, m_in=99.0, m_out=-99.0)).backward()
    assert torch.equal(norms.detach(), torch.zeros(2))
    assert torch.isfinite(weight.grad).all()


def test_gradient_regularisation_under_vmap_equals_loop_over_margins():
    norms, energies = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([-9.0, -8.0, -5.0])
    margins = torch.tensor([-9.5, -8.5, -7.5])

    def in_term(margin):
        return gradient_regularisation(norms, energies, 2, m_in=margin, m_out=-6.0)[0]

    apart = torch.stack([in_term(float(margin)) for margin in margins])
    torch.testing.assert_close(torch.vmap(in_term)(margins), apart)


def test_gradient_regularisation_bad_arguments_raise():
    with pytest.raises(ValueError, match=r"requires_grad_\(\) before the forward"):
        input_gradient_norms(torch.ones(2), torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"energies \(3,\)"):
        input_gradient_norms(torch.ones(3), torch.ones(2, 3))
    with pytest.raises(ValueError, match="num_id: 2 of 2"):
        gradient_regularisation(torch.ones(2), torch.ones(2), 2, m_in=-2.0, m_out=-1.0)
    with pytest.raises(ValueError, match="norms"):
        gradient_regularisation(torch.ones(2), torch.ones(3), 1, m_in=-2.0, m_out=-1.0)


def test_gradient_regularisation_reaches_every_weight_of_a_classifier_in_training():
    model = build_classifier("resnet20", 3, dropout=0.0, image_size=8, seed=0).train()
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    energies = free_energy(model(images))
    norms = input_gradient_norms(energies, images)
    sum(gradient_regularisation(norms, energies, 3, m_in=99.0, m_out=-99.0)).backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
    assert model.backbone.conv1.weight.grad.abs().max() > 0
