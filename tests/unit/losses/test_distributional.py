import math

import pytest
import torch

from study.losses.distributional import DistributionalAugmentation, worst_case_shift
from study.losses.outlier_exposure import uniform_cross_entropy

GENERATOR = torch.Generator().manual_seed(3)
FEATURES = torch.randn(6, 5, generator=GENERATOR)
WEIGHT, BIAS = torch.randn(4, 5, generator=GENERATOR), torch.randn(4, generator=GENERATOR)
SETTINGS = {
    "radius": 0.5, "steps": 5, "step_size": 0.3, "rate": 0.1, "penalty": 1.0, "max_penalty": 10.0,
}  # fmt: skip


def head(features):
    return features @ WEIGHT.T + BIAS


def test_worst_case_shift_matches_hand_computed_step():
    # Head logits (z, 0), z = log 3: the gradient by z is 3/4 - 1/2, so up by one step.
    shift = worst_case_shift(
        torch.tensor([[math.log(3)]]), torch.tensor([[1.0], [0.0]]), torch.zeros(2),
        penalty=0.0, steps=1, step_size=0.25,
    )  # fmt: skip
    assert shift.item() == pytest.approx(0.25)


def test_worst_case_shift_equals_traced_gradient_ascent():
    shift = torch.zeros_like(FEATURES)
    for _ in range(7):
        moved = shift.clone().requires_grad_()
        gain = uniform_cross_entropy(head(FEATURES + moved)) - 0.4 * moved.abs().mean(dim=1)
        (gradient,) = torch.autograd.grad(gain.sum(), moved)
        shift = shift + 0.2 * gradient / gradient.norm(dim=1, keepdim=True)
    ours = worst_case_shift(FEATURES, WEIGHT, BIAS, penalty=0.4, steps=7, step_size=0.2)
    torch.testing.assert_close(ours, shift)


def test_worst_case_shift_raises_the_loss_of_every_row():
    shift = worst_case_shift(FEATURES, WEIGHT, BIAS, penalty=0.0, steps=3, step_size=0.1)
    before, after = (uniform_cross_entropy(head(one)) for one in (FEATURES, FEATURES + shift))
    assert (after > before).all()


def test_worst_case_shift_under_a_high_penalty_stays_near():
    far, near = (
        worst_case_shift(FEATURES, WEIGHT, BIAS, penalty=penalty, steps=20, step_size=0.1)
        for penalty in (0.0, 1e3)
    )
    assert near.abs().mean() < 0.2 * far.abs().mean()


def test_worst_case_shift_of_a_row_without_gradient_is_zero():
    shift = worst_case_shift(
        FEATURES, torch.zeros(4, 5), torch.zeros(4), penalty=1.0, steps=2, step_size=0.5
    )
    assert torch.equal(shift, torch.zeros_like(FEATURES))


def test_distributional_augmentation_is_outlier_exposure_at_moved_features():
    loss = DistributionalAugmentation(**SETTINGS).eval()
    term, distance = loss(FEATURES, WEIGHT, BIAS)
    shift = worst_case_shift(FEATURES, WEIGHT, BIAS, penalty=1.0, steps=5, step_size=0.3)
    torch.testing.assert_close(term, uniform_cross_entropy(head(FEATURES + shift)).mean())
    torch.testing.assert_close(distance, shift.abs().mean())
    assert term > uniform_cross_entropy(head(FEATURES)).mean()


def test_distributional_augmentation_gradient_reaches_features_and_head_not_the_shift():
    features, weight = FEATURES.clone().requires_grad_(), WEIGHT.clone().requires_grad_()
    DistributionalAugmentation(**SETTINGS).eval()(features, weight, BIAS)[0].backward()
    shift = worst_case_shift(FEATURES, WEIGHT, BIAS, penalty=1.0, steps=5, step_size=0.3)
    probabilities = head(FEATURES + shift).softmax(dim=1)
    torch.testing.assert_close(features.grad, (probabilities - 0.25) @ WEIGHT / 6)
    torch.testing.assert_close(weight.grad, (probabilities - 0.25).T @ (FEATURES + shift) / 6)


@pytest.mark.parametrize(("radius", "expected"), [(1e-3, 1), (1e3, -1)])
def test_distributional_augmentation_penalty_follows_the_distance(radius, expected):
    loss = DistributionalAugmentation(**(SETTINGS | {"radius": radius, "rate": 1e-3}))
    _, distance = loss(FEATURES, WEIGHT, BIAS)
    moved = float(loss.penalty) - 1.0
    assert moved == pytest.approx(1e-3 * (float(distance) - radius), rel=1e-3)
    assert math.copysign(1, moved) == expected


def test_distributional_augmentation_penalty_stays_in_its_range_and_in_the_state():
    low = DistributionalAugmentation(**(SETTINGS | {"radius": 1e6}))
    low(FEATURES, WEIGHT, BIAS)
    high = DistributionalAugmentation(**(SETTINGS | {"radius": 1e-6, "rate": 1e9}))
    high(FEATURES, WEIGHT, BIAS)
    assert low.state_dict()["penalty"] == 0.0
    assert high.state_dict()["penalty"] == 10.0


def test_distributional_augmentation_in_evaluation_keeps_its_penalty():
    loss = DistributionalAugmentation(**SETTINGS).eval()
    loss(FEATURES, WEIGHT, BIAS)
    assert loss.penalty == 1.0


def test_distributional_augmentation_takes_tensors_for_numbers():
    tensors = {
        name: value if name == "steps" else torch.tensor(value) for name, value in SETTINGS.items()
    }
    one, other = DistributionalAugmentation(**SETTINGS), DistributionalAugmentation(**tensors)
    torch.testing.assert_close(one(FEATURES, WEIGHT, BIAS), other(FEATURES, WEIGHT, BIAS))
    torch.testing.assert_close(one.penalty, other.penalty)


def test_distributional_augmentation_without_outliers_raises():
    with pytest.raises(ValueError, match="needs outliers"):
        DistributionalAugmentation(**SETTINGS)(FEATURES[:0], WEIGHT, BIAS)


def test_worst_case_shift_shapes_that_do_not_fit_raise():
    with pytest.raises(ValueError, match=r"\(M, D\)"):
        worst_case_shift(FEATURES, WEIGHT[:, :3], BIAS, penalty=0.0, steps=1, step_size=0.1)
