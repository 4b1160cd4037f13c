import copy

import pytest
import torch
from torch import nn

from study.losses.perceptual import PerceptualDistance
from study.models.classifier import MEAN, STD
from study.models.frozen_networks import FrozenNetwork


def network(seed=0):
    generator = torch.Generator().manual_seed(seed)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3)
    )
    for parameter in layers.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return FrozenNetwork(layers, ("2", "3"))


def images(seed=0, count=3):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


class Scaled(nn.Module):
    """Images times 2 and times 6, after the normalisation is undone: distances by hand."""

    default_layers = ("double", "sixfold")

    def forward(self, pixels, layers=None):
        factors = {"double": 2.0, "sixfold": 6.0}
        return {name: factors[name] * pixels for name in layers or self.default_layers}

    def check_layers(self, layers):
        return tuple(layers)


def test_perceptual_matches_hand_computed_values():
    target = torch.zeros(1, 3, 2, 2)
    output = target + 0.5  # 1 and 3 apart in the two layers
    scaled = Scaled()
    assert float(PerceptualDistance(scaled)(output, target)) == pytest.approx((1 + 3) / 2)
    assert float(PerceptualDistance(scaled, inner="mse")(output, target)) == pytest.approx(5)
    huber = PerceptualDistance(scaled, inner="huber")(output, target)
    assert float(huber) == pytest.approx((1 / 2 + (3 - 1 / 2)) / 2)
    weighted = PerceptualDistance(scaled, ("sixfold", "double"), layer_weights=(10, 1))
    assert float(weighted(output, target)) == pytest.approx(10 * 3 + 1)


def test_perceptual_equals_the_plain_computation_through_the_network():
    frozen, output, target = network(), images(), images(seed=1)
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    plain = frozen.network[:3]
    difference = plain((output - mean) / std) - plain((target - mean) / std)
    torch.testing.assert_close(
        PerceptualDistance(frozen, ("2",), "mse")(output, target),
        difference.square().mean(dim=(1, 2, 3)),
    )


@pytest.mark.parametrize("inner", ["l1", "mse", "huber"])
def test_perceptual_perfect_is_zero_with_finite_gradient(inner):
    output = images().requires_grad_()
    loss = PerceptualDistance(network(), inner=inner)(output, images())
    loss.sum().backward()
    assert torch.equal(loss, torch.zeros(3))
    assert output.grad.isfinite().all()


def test_perceptual_gradient_reaches_the_output_and_not_the_target():
    output, target = images().requires_grad_(), images(seed=1).requires_grad_()
    PerceptualDistance(network())(output, target).sum().backward()
    assert (output.grad.abs().amax(dim=(1, 2, 3)) > 0).all()
    assert target.grad is None


def test_perceptual_network_is_not_part_of_the_loss():
    loss = PerceptualDistance(network())
    assert list(loss.parameters()) == []
    assert loss.state_dict() == {}
    assert list(loss.children()) == []


def test_perceptual_network_follows_to_another_device():
    frozen = network()
    nn.ModuleDict({"loss": PerceptualDistance(frozen)}).to("meta")
    devices = {t.device.type for t in [*frozen.parameters(), *frozen.buffers()]}
    assert devices == {"meta"}


def test_perceptual_stays_float32_when_a_parent_goes_to_half_precision():
    frozen = network()
    loss = PerceptualDistance(frozen)
    before = loss(images(), images(seed=1))
    nn.ModuleDict({"loss": loss}).half()
    assert {p.dtype for p in frozen.parameters()} == {torch.float32}
    after = loss(images(), images(seed=1))
    assert after.dtype == torch.float32
    torch.testing.assert_close(after, before)


def test_perceptual_in_training_mode_gives_the_same_value():
    loss = PerceptualDistance(network())
    before = loss.eval()(images(), images(seed=1))
    assert torch.equal(loss.train()(images(), images(seed=1)), before)


def test_perceptual_copies_are_apart():
    loss = PerceptualDistance(network())
    copy.deepcopy(loss).to("meta")
    assert loss(images(), images(seed=1)).isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": ("2", "layer9")}, r"no \['layer9'\]; there are \['0', '1', '2', '3'\]"),
        ({"layers": ()}, "one layer or more"),
        ({"layers": ("2", "2")}, "each once"),
        ({"inner": "l2"}, r"'l2'; there are \['l1', 'mse', 'huber'\]"),
        ({"layer_weights": (1.0,)}, "layer_weights: 1 of them"),
        ({"layer_weights": (1.0, -1.0)}, "must be >= 0"),
        ({"layer_weights": (0.0, 0.0)}, "must be >= 0"),
    ],
)
def test_perceptual_bad_arguments_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        PerceptualDistance(network(), **arguments)
