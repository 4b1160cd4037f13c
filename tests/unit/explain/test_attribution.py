from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study.explain.attribution import attribute
from study.explain.options import METHODS, MapOptions
from study.explain.references import reference_images
from study.explain.targets import PairLogit, Target, class_target, similarity_target
from study.models.reversal import reverse_gradient
from tests.explain_toys import SIZE, ToyNordF, toy_batch

REVERSAL = 0.01
PAIR = PairLogit(scale=7.0, offset=0.4)


def _targets(model: nn.Module, count: int = 4) -> dict[str, Target]:
    classes = torch.arange(count) % 3
    return {
        "class": class_target(model, classes),
        "similarity": similarity_target(model, toy_batch(count, seed=9), PAIR),
    }


@pytest.mark.parametrize("branch", ["class", "similarity"])
@pytest.mark.parametrize("baseline", ["grey", "blur"])
def test_integrated_gradients_sums_to_the_change_from_the_baseline(
    branch: str, baseline: Any
) -> None:
    target, images = _targets(ToyNordF())[branch], toy_batch()
    maps = attribute(target, images, MapOptions(baseline=baseline))
    change = target.values(images) - target.values(reference_images(images, baseline))
    assert change.abs().min() > 1e-3  # else the next line shows no sign
    torch.testing.assert_close(maps.sum(dim=(1, 2)), change, rtol=1e-3, atol=1e-5)


class _Reversed(ToyNordF):
    """The upper branch as it is in training: behind a reversal layer."""

    def upper_features(self, images: Tensor) -> Tensor:
        maps = reverse_gradient(self.backbone.maps(images), REVERSAL)
        return torch.nn.functional.softplus(self.upper(maps)).flatten(1)


def test_map_through_the_reversal_layer_has_the_wrong_sign_and_size() -> None:
    images, partners = toy_batch(), toy_batch(seed=9)
    right, wrong = (
        attribute(similarity_target(model, partners, PAIR), images, MapOptions())
        for model in (ToyNordF(), _Reversed())
    )
    torch.testing.assert_close(wrong, -REVERSAL * right, rtol=1e-3, atol=1e-7)


def test_similarity_target_is_higher_for_a_pair_that_differs_more() -> None:
    model, images = ToyNordF(), toy_batch(2)
    partners = torch.stack([images[0], 1 - images[1]])
    same, different = similarity_target(model, partners, PAIR).values(images)
    assert float(same) == pytest.approx(7.0 * (0.4 - 1.0), abs=1e-4)
    assert different > same


def test_similarity_is_the_same_number_from_either_image_with_a_map_of_its_own() -> None:
    model, first, second = ToyNordF(), toy_batch(seed=1), toy_batch(seed=2)
    of_first, of_second = (similarity_target(model, other) for other in (second, first))
    torch.testing.assert_close(of_first.values(first), of_second.values(second))
    one = attribute(of_first, first, MapOptions())
    two = attribute(of_second, second, MapOptions())
    assert not torch.allclose(one, two, rtol=0.1)


def test_offset_changes_no_map_and_scale_scales_it() -> None:
    model, images, partners = ToyNordF(), toy_batch(), toy_batch(seed=9)
    plain = attribute(similarity_target(model, partners), images, MapOptions())
    target = similarity_target(model, partners, PairLogit(scale=3.0, offset=0.8))
    other = attribute(target, images, MapOptions())
    torch.testing.assert_close(other, 3 * plain, rtol=1e-4, atol=1e-7)


def test_scale_that_would_turn_maps_around_is_refused() -> None:
    with pytest.raises(ValueError, match="scale: -1"):
        similarity_target(ToyNordF(), toy_batch(), PairLogit(scale=-1.0))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("branch", ["class", "similarity"])
def test_map_does_not_depend_on_the_other_images_of_the_batch(method: Any, branch: str) -> None:
    target, images = _targets(ToyNordF().train())[branch], toy_batch()
    together = attribute(target, images, MapOptions(method=method))
    assert together.shape == (4, SIZE, SIZE)
    alone = attribute(target.part(slice(2, 3)), images[2:3], MapOptions(method=method))
    torch.testing.assert_close(together[2:3], alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_map_leaves_model_and_generators_as_they_were(method: Any) -> None:
    model = ToyNordF().train()
    model.backbone.norm.eval()  # a frozen part stays frozen
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before = torch.random.get_rng_state()
    for target in _targets(model).values():
        attribute(target, toy_batch(), MapOptions(method=method))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert model.training
    assert not model.backbone.norm.training
    assert "maps" not in vars(model.backbone)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_smoothgrad_draws_from_its_own_seed_alone() -> None:
    target, options = _targets(ToyNordF())["class"], MapOptions(method="smoothgrad")
    first = attribute(target, toy_batch(), options)
    torch.rand(3)
    assert torch.equal(attribute(target, toy_batch(), options), first)
    other = attribute(target, toy_batch(), replace(options, seed=1))
    assert not torch.allclose(other, first, rtol=1e-3)


def test_smoothgrad_without_noise_is_the_gradient() -> None:
    target, images = _targets(ToyNordF())["similarity"], toy_batch()
    smooth = attribute(target, images, MapOptions(method="smoothgrad", noise=0.0))
    plain = attribute(target, images, MapOptions(method="saliency"))
    torch.testing.assert_close(smooth, plain, rtol=1e-4, atol=1e-6)


def test_saliency_of_a_linear_model_is_the_size_of_its_weights() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 2))
    target = class_target(model, torch.tensor([1, 0]))
    maps = attribute(target, toy_batch(2), MapOptions(method="saliency"))
    weights = model[1].weight.detach().view(2, 3, SIZE, SIZE).abs().sum(dim=1)
    torch.testing.assert_close(maps, weights.flip(0))


def test_grad_cam_weights_each_map_with_its_mean_gradient() -> None:
    model, images = ToyNordF().eval(), toy_batch()
    classes = torch.tensor([0, 1, 2, 0])
    maps = attribute(class_target(model, classes), images, MapOptions(method="grad_cam"))
    with torch.no_grad():
        features = model.backbone.maps(images)
    weights = model.fc.weight.detach()[classes].view(4, 6, 4, 4).mean(dim=(2, 3))
    coarse = (weights[:, :, None, None] * features).sum(dim=1, keepdim=True)
    expected = nn.functional.interpolate(coarse, SIZE, mode="bilinear", align_corners=False)
    torch.testing.assert_close(maps, expected[:, 0], rtol=1e-4, atol=1e-6)


def test_grad_cam_without_maps_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 2))
    target = class_target(model, torch.tensor([1, 0]))
    with pytest.raises(ValueError, match="no maps; take another method"):
        attribute(target, toy_batch(2), MapOptions(method="grad_cam"))


def test_half_precision_outside_does_not_reach_the_maps() -> None:
    target, images = _targets(ToyNordF())["similarity"], toy_batch()
    plain = attribute(target, images, MapOptions())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(attribute(target, images, MapOptions()), plain)
