import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from study.losses.names import RECONSTRUCTIONS, SHIPPED, SMALLEST_IMAGE
from study.losses.perceptual import PerceptualDistance
from study.losses.reconstruction import make_reconstruction
from study.losses.reconstructions.ms_ssim import ms_ssim_scales
from study.models.frozen_networks import FrozenNetwork

ROOT = Path(__file__).resolve().parents[3]


def perceptual(inner="l1"):
    torch_rng = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3, generator=torch_rng)
    return PerceptualDistance(FrozenNetwork(network, ("1", "2")), inner=inner)


def make(name, **options):
    return make_reconstruction(name, perceptual=perceptual(), **options)


def images(count=4, size=32, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def constant(value):
    return torch.full((1, 3, 32, 32), value)


def test_shipped_losses_come_first_each_parameter_with_its_meaning():
    assert tuple(RECONSTRUCTIONS)[: len(SHIPPED)] == SHIPPED
    assert all(p.meaning for one in RECONSTRUCTIONS.values() for p in one.parameters.values())


def test_names_load_without_torch():
    code = "import study.losses.names, sys; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_reconstruction_perfect_is_zero(name):
    target = images()
    assert torch.equal(make(name)(target.clone(), target), torch.zeros(4))


@pytest.mark.parametrize("value", [0.0, 0.3, 0.9749, 1.0])
@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_reconstruction_perfect_and_flat_is_zero_with_finite_gradient(name, value):
    output = constant(value).requires_grad_()
    loss = make(name)(output, constant(value))
    loss.sum().backward()
    assert torch.equal(loss, torch.zeros(1))
    assert output.grad.isfinite().all()


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_reconstruction_perfect_has_finite_gradient(name):
    output = images().requires_grad_()
    make(name)(output, images()).sum().backward()
    assert output.grad.isfinite().all()


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_reconstruction_of_more_noise_costs_more(name):
    target = 0.25 + 0.5 * images(8)
    noise = images(8, seed=1) - 0.5
    losses = [make(name)(target + scale * noise, target) for scale in (0.0, 0.05, 0.2, 0.5)]
    for less, more in pairwise(losses):
        assert (less < more).all()


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_reconstruction_is_per_image(name):
    output, target = images(3), images(3, seed=1)
    alone = torch.cat([make(name)(output[i : i + 1], target[i : i + 1]) for i in range(3)])
    together = make(name)(output, target)
    assert together.shape == (3,)
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_reconstruction_under_autocast_is_the_float32_value(name):
    output, target = images(2), images(2, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = make(name)(output, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, make(name)(output, target))


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_reconstruction_of_half_precision_is_float32(name):
    assert make(name)(images(1).half(), images(1)).dtype == torch.float32


@pytest.mark.parametrize("name", ["l1", "mse", "huber", "charbonnier"])
def test_pixelwise_gradients_are_those_of_the_values(name):
    output, target = images(2, 6).double().requires_grad_(), images(2, 6, seed=1).double()
    assert torch.autograd.gradcheck(make(name), (output, target))


@pytest.mark.parametrize("name", ["ssim", "ms_ssim", "l1_ssim"])
def test_structural_gradients_are_those_of_the_values(name):
    output, target = images(1, 16).double().requires_grad_(), images(1, 16, seed=1).double()
    assert torch.autograd.gradcheck(make(name), (output, target), fast_mode=True)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        # Half of the pixels are off by 0.5, the rest right.
        ("l1", {}, 0.5 / 2),
        ("mse", {}, 0.25 / 2),
        ("huber", {"huber_delta": 0.1}, 0.1 * (0.5 - 0.05) / 2),
        ("huber", {"huber_delta": 2.0}, 0.25 / 2 / 2),
        ("charbonnier", {"charbonnier_eps": 0.1}, (math.sqrt(0.26) - 0.1) / 2),
    ],
)
def test_pixelwise_matches_hand_computed_values(name, options, expected):
    target = torch.full((1, 3, 2, 2), 0.25)
    output = target.clone()
    output[:, :, 0] += 0.5
    assert float(make(name, **options)(output, target)) == pytest.approx(expected)


@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_huber_equals_torch(delta):
    output, target = images(), images(seed=1)
    expected = nn.functional.huber_loss(output, target, reduction="none", delta=delta)
    loss = make("huber", huber_delta=delta)(output, target)
    torch.testing.assert_close(loss, expected.mean(dim=(1, 2, 3)))


def test_charbonnier_of_a_tiny_difference_keeps_its_digits():
    # d^2 / (2 eps), where sqrt(d^2 + eps^2) - eps in float32 gives zero.
    output = torch.full((1, 3, 1, 1), 1e-8)
    loss = make("charbonnier", charbonnier_eps=1e-3)(output, torch.zeros(1, 3, 1, 1))
    assert float(loss) == pytest.approx(5e-14, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "option"), [("huber", "huber_delta"), ("l1_ssim", "ssim_weight")]
)
def test_reconstruction_takes_its_scalars_as_tensors(name, option):
    output, target = images(2), images(2, seed=1)
    scalar = make(name, **{option: 0.25})(output, target)
    tensor = make(name, **{option: torch.tensor(0.25)})(output, target)
    torch.testing.assert_close(scalar, tensor)


def test_ssim_equals_class_of_torchmetrics():
    from torchmetrics.image import StructuralSimilarityIndexMeasure

    output, target = images(), 0.5 * images() + 0.5 * images(seed=1)
    metric = StructuralSimilarityIndexMeasure(data_range=1.0, reduction="none")
    metric.update(output, target)
    torch.testing.assert_close(make("ssim")(output, target), 1 - metric.compute())


def test_ms_ssim_equals_class_of_torchmetrics():
    from torchmetrics.image import MultiScaleStructuralSimilarityIndexMeasure

    output, target = images(), 0.5 * images() + 0.5 * images(seed=1)
    weights = (0.0448, 0.2856, 0.3001)
    metric = MultiScaleStructuralSimilarityIndexMeasure(
        data_range=1.0,
        reduction="none",
        kernel_size=7,
        sigma=1.5 * 7 / 11,
        betas=tuple(weight / sum(weights) for weight in weights),
        normalize="simple",
    )
    metric.update(output, target)
    torch.testing.assert_close(make("ms_ssim")(output, target), 1 - metric.compute())


def test_ms_ssim_of_inverted_images_still_has_a_gradient():
    output = (1 - images()).requires_grad_()
    make("ms_ssim")(output, images()).sum().backward()
    assert output.grad.isfinite().all()
    assert (output.grad.abs().amax(dim=(1, 2, 3)) > 1e-5).all()


def test_l1_ssim_is_the_weighted_sum():
    pair = images(), images(seed=1)
    expected = 0.3 * make("ssim")(*pair) + 0.7 * make("l1")(*pair)
    torch.testing.assert_close(make("l1_ssim", ssim_weight=0.3)(*pair), expected)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (16, (2, 7)),
        (31, (2, 7)),
        (32, (3, 7)),
        (64, (4, 7)),
        (128, (5, 7)),
        (175, (5, 7)),
        (176, (5, 11)),
        (224, (5, 11)),
    ],
)
def test_ms_ssim_scales_follow_the_image_size(size, expected):
    assert ms_ssim_scales(size) == expected


@pytest.mark.parametrize("size", [16, 17, 28, 31, 32, 33, 63, 64, 65, 127, 128, 175, 176])
def test_ms_ssim_works_at_every_border_of_its_rule(size):
    pair = images(1, size), images(1, size, seed=1)
    assert 0 < float(make("ms_ssim")(*pair)) < 1


def test_ms_ssim_of_five_scales_is_torchmetrics_own():
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    pair = images(1, 176), images(1, 176, seed=1)
    theirs = multiscale_structural_similarity_index_measure(
        *pair, data_range=1.0, normalize="simple"
    )
    # The paper's weights sum to 1.0001.
    assert float(make("ms_ssim")(*pair)) == pytest.approx(1 - float(theirs), abs=1e-4)


@pytest.mark.parametrize(("name", "least"), SMALLEST_IMAGE.items())
def test_reconstruction_of_too_small_images_raises_with_the_least_size(name, least):
    assert make(name)(images(1, least), images(1, least, seed=1)).isfinite().all()
    small = images(1, least - 1)
    message = f"{name}: images of {least - 1} pixels .* at least {least} x {least}"
    with pytest.raises(ValueError, match=message):
        make(name)(small, small)


def test_reconstruction_of_other_shapes_raises():
    with pytest.raises(ValueError, match=r"output \(1, 3, 8, 8\) and target \(1, 3, 4, 4\)"):
        make("l1")(images(1, 8), images(1, 4))
    with pytest.raises(ValueError, match="must both be"):
        make("l1")(images(1, 8)[0], images(1, 8)[0])


def test_make_reconstruction_perceptual_without_network_raises():
    with pytest.raises(ValueError, match="needs a frozen network"):
        make_reconstruction("perceptual")


def test_pixelwise_losses_do_not_load_torchmetrics():
    code = (
        "import torch, sys; from study.losses.reconstruction import make_reconstruction\n"
        "for name in ('l1', 'mse', 'huber', 'charbonnier'):\n"
        "    make_reconstruction(name)(torch.ones(1, 3, 2, 2), torch.ones(1, 3, 2, 2))\n"
        "print('torchmetrics' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
