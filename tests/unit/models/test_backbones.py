"""What every backbone owes: maps of its stride, features that are their mean, training, disk."""

from functools import cache

import pytest
import torch
from torch.nn import functional

from study.models.names import stride_of
from study.models.registry import build_backbone, build_classifier
from study.models.weights import load_into, load_weights, memory_format_of, save_weights

# One of each family.
FAMILIES = (
    "resnet20", "wrn_16_2", "resnet18", "convnextv2_atto", "vgg16_bn", "densenet121", "vit_tiny",
)  # fmt: skip
REAL = (*FAMILIES, pytest.param("convnext_tiny", marks=pytest.mark.slow))
MORE = ("convnextv2_femto", "convnextv2_pico", "convnextv2_nano", "convnext_tiny")
SMALL = ("resnet20", "wrn_16_2", "convnextv2_atto", "vit_tiny")


@cache
def classifier(name):
    """Built once for this file: the large ones take a second. Tests leave it as it was."""
    return build_classifier(name, 10, seed=0).to(memory_format=torch.channels_last).eval()


def images(number=2, size=32):
    generator = torch.Generator().manual_seed(7)
    return torch.rand(number, 3, size, size, generator=generator)


@pytest.mark.parametrize(
    ("name", "image_size"),
    [
        *((name, size) for name in FAMILIES for size in (32, 64, 224)),
        *((name, 32) for name in MORE),
    ],
)
def test_maps_have_the_stride_that_the_rule_says(name, image_size):
    with torch.device("meta"):
        backbone = build_backbone(name, image_size=image_size, seed=0)
        maps = backbone.maps(images(size=image_size).to("meta"))
    stride = stride_of(name, image_size)
    assert backbone.stride == stride
    assert maps.shape == (2, backbone.num_features, image_size // stride, image_size // stride)


@pytest.mark.parametrize("name", REAL)
def test_forward_is_the_mean_of_the_maps(name):
    backbone = classifier(name).backbone
    with torch.inference_mode():
        maps = backbone.maps(images())
        torch.testing.assert_close(backbone(images()), maps.mean(dim=(2, 3)))
    assert maps.std(dim=(2, 3)).max() > 0


@pytest.mark.parametrize("name", REAL)
def test_maps_pass_a_gradient_to_every_weight_and_to_the_image(name):
    backbone = classifier(name).backbone
    batch = images().requires_grad_()
    weights = dict(backbone.named_parameters())
    maps = backbone.maps(batch)
    # Weighted at random: the sum over channels behind a LayerNorm does not depend on anything.
    probe = torch.rand(maps.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad((maps * probe).sum(), [batch, *weights.values()])
    without = [
        key
        for key, gradient in zip(["image", *weights], gradients, strict=True)
        if not gradient.isfinite().all() or not gradient.any()
    ]
    assert not without


@pytest.mark.parametrize("name", SMALL)
def test_build_backbone_is_a_function_of_its_seed(name):
    before = torch.random.get_rng_state()
    one, same, other = (build_backbone(name, seed=seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    drawn = [key for key in one if one[key].ndim == 4]
    assert drawn
    assert not any(torch.equal(one[key], other[key]) for key in drawn)


@pytest.mark.parametrize("name", REAL)
def test_weights_on_disk_come_back_to_the_bit_in_channels_last(name, tmp_path):
    model = classifier(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    path = tmp_path / "weights.safetensors"
    save_weights(model, path)
    with torch.inference_mode():
        for tensor in model.state_dict().values():
            tensor.zero_()
    weights, _ = load_weights(path)
    load_into(model, weights)
    assert memory_format_of(model.state_dict()) == "channels_last"
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in before)


@pytest.mark.parametrize("name", REAL)
def test_classifier_learns_a_batch_in_channels_last(name):
    model = classifier(name)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    # A ViT's grid is fixed; for the others smaller images are quicker.
    batch = images(4, 32 if name == "vit_tiny" else 16)
    batch = batch.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(4) % 2
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    try:
        model.train()
        before = functional.cross_entropy(model(batch), labels)
        before.backward()
        optimizer.step()
        with torch.inference_mode():
            after = functional.cross_entropy(model(batch), labels)
        layout = memory_format_of(model.state_dict())
    finally:
        model.zero_grad()
        model.load_state_dict(state)
        model.eval()
    assert after < before
    assert layout == "channels_last"


@pytest.mark.parametrize("name", ["densenet121", "vit_tiny"])
def test_dropout_of_a_library_s_backbone_acts_in_training_only(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = build_backbone(name, dropout=0.5, image_size=16, seed=0).eval()
        batch = images(size=16)
        with torch.inference_mode():
            assert torch.equal(backbone(batch), backbone(batch))
            backbone.train()
            assert not torch.equal(backbone(batch), backbone(batch))
