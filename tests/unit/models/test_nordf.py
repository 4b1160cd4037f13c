from typing import get_args

import pytest
import torch
from torch import nn
from torch.nn import functional

from study.data.pairs import chain, image_weights
from study.losses.similarity import Similarity
from study.models.classifier import Classifier
from study.models.decoder import Norm
from study.models.nordf import NordF, up_samplings
from study.models.registry import build_backbone

SIZE = 8


class ToyBackbone(nn.Module):
    """One strided convolution with batch norm."""

    def __init__(self, stride=4, num_features=6):
        super().__init__()
        self.stride, self.num_features = stride, num_features
        self.conv = nn.Conv2d(3, num_features, stride, stride)
        self.bn = nn.BatchNorm2d(num_features)

    def maps(self, x):
        return functional.relu(self.bn(self.conv(x)))

    def forward(self, x):
        return self.maps(x).mean(dim=(2, 3))


def model(stride=4, size=SIZE, seed=0, **settings):
    small = {"width": 12, "branch_channels": 8, "head_widths": (7, 5), "decoder_blocks": 1}
    torch.manual_seed(seed)
    return NordF(ToyBackbone(stride), 3, image_size=size, **(small | settings))


def images(num, size=SIZE, seed=1):
    return torch.rand(num, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("norm", get_args(Norm))
@pytest.mark.parametrize(("stride", "size"), [(1, 8), (2, 8), (4, 8), (8, 24), (16, 16)])
def test_nordf_output_has_the_shapes_it_says(norm, stride, size):
    nordf = model(stride, size, norm=norm)
    out = nordf.branches(images(2, size), reversal=0.1)
    places = (size // stride) ** 2
    assert out.logits.shape == (2, 3)
    assert out.upper.shape == (2, 8 * places) == (2, nordf.num_upper)
    assert out.class_features.shape == (2, 8 * places) == (2, nordf.num_class_features)
    assert out.penultimate.shape == (2, 5)
    assert out.reconstruction.shape == (2, 3, size, size)
    assert out.reconstruction.min() >= 0
    assert out.reconstruction.max() <= 1
    assert out.upper.min() >= 0


def test_nordf_forward_and_upper_features_equal_the_branches():
    nordf = model().eval()
    out = nordf.branches(images(3), reversal=0.5, reconstruct=False)
    assert torch.equal(nordf(images(3)), out.logits)
    assert torch.equal(nordf.upper_features(images(3)), out.upper)
    assert torch.equal(nordf.output(out.penultimate), out.logits)
    assert out.reconstruction is None


def test_nordf_backbone_weights_of_a_classifier_fit_by_name():
    backbone = ToyBackbone()
    state = Classifier(backbone, 3, mean=(0.1, 0.2, 0.3)).state_dict()
    nordf = model(seed=5)
    left = nordf.load_state_dict(state, strict=False)
    assert set(left.unexpected_keys) == {"fc.weight", "fc.bias"}
    assert torch.equal(nordf.backbone.conv.weight, backbone.conv.weight)
    assert nordf.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_nordf_construction_leaves_the_backbones_weights():
    backbone = ToyBackbone()
    before = backbone.conv.weight.clone()
    NordF(backbone, 3, image_size=SIZE)
    assert torch.equal(backbone.conv.weight, before)


def test_nordf_is_a_function_of_the_seed():
    one, same, other = (model(seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["shared.weight"], other["shared.weight"])


def shared_gradient(nordf, reversal, of):
    nordf.zero_grad()
    of(nordf.branches(images(4), reversal=reversal)).backward()
    return nordf.shared.weight.grad.clone()


def test_nordf_reversal_turns_the_upper_gradient_and_no_other():
    nordf = model().eval()
    plain, turned = (shared_gradient(nordf, w, lambda o: o.upper.sum()) for w in (None, 0.25))
    assert plain.abs().max() > 0
    torch.testing.assert_close(turned, -0.25 * plain)
    plain, turned = (shared_gradient(nordf, w, lambda o: o.logits.sum()) for w in (None, 0.25))
    assert torch.equal(turned, plain)


def test_nordf_reconstruction_learns_from_both_branches():
    nordf = model()
    nordf.branches(images(4)).reconstruction.sum().backward()
    assert nordf.upper[0].weight.grad.abs().max() > 0
    assert nordf.classification[0].weight.grad.abs().max() > 0


def test_nordf_with_group_norm_treats_images_apart():
    nordf = model(norm="group", dropout=0.0)
    nordf.backbone.eval()  # the branches and the decoder stay in training mode
    together, alone = nordf.branches(images(5)), nordf.branches(images(5)[:1])
    torch.testing.assert_close(together.reconstruction[:1], alone.reconstruction)
    torch.testing.assert_close(together.upper[:1], alone.upper)


def test_nordf_channels_last_gives_the_same():
    nordf = model().eval()
    expected = nordf.branches(images(3))
    nordf.to(memory_format=torch.channels_last)
    out = nordf.branches(images(3).contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(out.upper, expected.upper)
    torch.testing.assert_close(out.reconstruction, expected.reconstruction)


def one_forward(nordf, similarity, batch, labels, pairs):
    """Each image once, weighted by its pairs."""
    out = nordf.branches(batch, reversal=0.3)
    first, second = pairs.T
    weights = image_weights(pairs, len(batch)).to(batch.dtype)
    pixels = (out.reconstruction - batch).square().mean(dim=(1, 2, 3))
    return {
        "similarity": similarity(
            out.upper[first], out.upper[second], labels[first] != labels[second]
        )["per_pair"].mean(),
        "classes": (
            weights * functional.cross_entropy(out.logits, labels, reduction="none")
        ).sum(),
        "pixels": (weights * pixels).sum(),
    }


def two_forwards(nordf, similarity, batch, labels, pairs):
    """The seed's way: the first images of all pairs, then the second ones."""
    sides = []
    for side in pairs.T:
        out = nordf.branches(batch[side], reversal=0.3)
        classes = functional.cross_entropy(out.logits, labels[side])
        sides.append((out.upper, classes, functional.mse_loss(out.reconstruction, batch[side])))
    (upper_1, classes_1, pixels_1), (upper_2, classes_2, pixels_2) = sides
    different = labels[pairs[:, 0]] != labels[pairs[:, 1]]
    return {
        "similarity": similarity(upper_1, upper_2, different)["per_pair"].mean(),
        "classes": (classes_1 + classes_2) / 2,
        "pixels": (pixels_1 + pixels_2) / 2,
    }


@pytest.mark.parametrize("form", ["logit", "clamp_eps"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_images", [2, 3, 9])
def test_nordf_one_forward_equals_two_forwards_in_losses_and_gradients(form, dtype, num_images):
    batch = images(num_images).to(dtype)
    labels = torch.tensor([0, 0, 1, 2, 2, 1, 1, 0, 2])[:num_images]
    results = []
    for way in (one_forward, two_forwards):
        nordf = model(dropout=0.5).eval().to(dtype)  # no dropout, batch norm's running statistics
        similarity = Similarity(form).to(dtype)
        terms = way(nordf, similarity, batch, labels, chain(num_images))
        sum(terms.values()).backward()
        parts = [*nordf.named_parameters(), *similarity.named_parameters()]
        results.append((terms, {name: part.grad for name, part in parts}))
    (ours, our_gradients), (seeds, seeds_gradients) = results
    tolerance = {"rtol": 1e-4, "atol": 1e-6} if dtype == torch.float32 else {}
    for name in seeds:
        torch.testing.assert_close(ours[name], seeds[name], **tolerance)
    assert our_gradients.keys() == seeds_gradients.keys()
    for name, gradient in seeds_gradients.items():
        torch.testing.assert_close(our_gradients[name], gradient, **tolerance)


def test_nordf_trains_on_two_images_with_either_norm():
    for norm in get_args(Norm):
        nordf = model(norm=norm)
        terms = one_forward(nordf, Similarity(), images(2), torch.tensor([0, 1]), chain(2))
        sum(terms.values()).backward()
        assert all(torch.isfinite(p.grad).all() for p in nordf.parameters() if p.grad is not None)


def test_nordf_resnet20_fits_and_its_branches_are_smaller_than_the_backbone():
    backbone = build_backbone("resnet20", dropout=0.0, image_size=32, seed=0)
    nordf = NordF(backbone, 10, image_size=32).eval()
    macs = {"backbone": 0, "rest": 0}

    def count(name):
        def hook(part, _, out):
            per_output = part.weight.numel() // part.weight.shape[0]
            if isinstance(part, nn.ConvTranspose2d):
                per_output = part.weight.shape[0]  # kernel = stride: one tap for each channel
            macs[name] += per_output * out[0].numel()

        return hook

    for path, part in nordf.named_modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            part.register_forward_hook(count("backbone" if "backbone" in path else "rest"))
    with torch.inference_mode():
        nordf.branches(images(1, 32))
    assert 0 < macs["rest"] <= macs["backbone"]


@pytest.mark.parametrize(("stride", "size", "steps"), [(1, 7, 0), (4, 32, 2), (8, 32, 3)])
def test_up_samplings_are_the_halvings_of_the_backbone(stride, size, steps):
    assert up_samplings(stride, size) == steps


@pytest.mark.parametrize(
    ("stride", "size", "told"),
    [
        (3, 9, "stride: 3 .* power of two"),
        (0, 8, "stride: 0"),
        (4, 30, "image_size: 30 is not a multiple .* 4; take images of 28 or 32 pixels"),
        (8, 4, "image_size: 4 .* take images of 8 pixels"),
    ],
)
def test_up_samplings_impossible_stride_is_refused_with_the_way_out(stride, size, told):
    with pytest.raises(ValueError, match=told):
        up_samplings(stride, size)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"dropout": 1.0}, "dropout: 1.0"),
        ({"width": 0}, "width"),
        ({"decoder_widths": (8,)}, r"decoder_widths: \[8\] must have 2"),
    ],
)
def test_nordf_bad_settings_are_named(settings, told):
    with pytest.raises(ValueError, match=told):
        model(**settings)


def test_nordf_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3, 12, 12\), must be \(B, 3, 8, 8\)"):
        model()(images(2, 12))
