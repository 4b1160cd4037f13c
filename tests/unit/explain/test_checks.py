from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from study.explain.attribution import attribute
from study.explain.checks import (
    FRACTIONS,
    agreement,
    completeness_gap,
    deletion,
    randomised,
    weight_randomisation,
)
from study.explain.options import MapOptions
from study.explain.references import reference_images
from study.explain.targets import Target, class_target
from tests.explain_toys import SIZE, ToyNordF, toy_batch

GROUPS = np.array([f"{row}" for row in range(12)], dtype="S2")


def _planted(images: Tensor) -> tuple[Target, Tensor]:
    """A target that is the detail inside a square of each image, and the map that knows where."""
    count = len(images)
    where = torch.zeros(count, SIZE, SIZE)
    for row in range(count):
        top = row % 4
        where[row, top : top + 2, top : top + 2] = 1

    def detail(batch: Tensor, mask: Tensor) -> Tensor:
        return ((batch - blurred[: len(batch)]).abs() * mask[:, None]).sum(dim=(1, 2, 3))

    blurred = reference_images(images, "blur")
    return Target(nn.Identity(), detail, where), where


def test_map_of_the_pixels_that_matter_beats_random_order_and_other_maps() -> None:
    images = toy_batch(12)
    target, where = _planted(images)
    told = deletion(target, images, where, GROUPS, 0, "val_id")
    assert told.over_random.low > 0  # type: ignore[operator]
    assert told.over_other is not None
    assert told.over_other.low > 0  # type: ignore[operator]
    assert told.over_random.mean == pytest.approx(told.area.mean - told.random.mean)  # type: ignore[operator]
    # 4 of 64 pixels are all that counts: nothing is left to fall once a tenth is gone
    total = float(target.values(images).mean())
    after = dict(zip(FRACTIONS, told.curve, strict=True))
    assert after[0.0] == 0.0
    assert after[0.1] == pytest.approx(total, rel=1e-5)


def test_map_of_other_pixels_loses_to_random_order() -> None:
    images = toy_batch(12)
    target, where = _planted(images)
    told = deletion(target, images, -where, GROUPS, 0, "val_id")
    assert told.over_random.high < 0  # type: ignore[operator]
    assert told.curve[-1] == 0.0


def test_flat_map_is_as_good_as_random_order() -> None:
    images = toy_batch(12)
    target, where = _planted(images)
    told = deletion(target, images, torch.zeros_like(where), GROUPS, 0, "val_id")
    assert told.over_random.low < 0 < told.over_random.high  # type: ignore[operator]


def test_deletion_is_seeded_and_a_single_image_has_no_other_map() -> None:
    images = toy_batch(1)
    target, where = _planted(images)
    first, again = (deletion(target, images, where, GROUPS[:1], 0, "x") for _ in range(2))
    assert first == again
    assert first.over_other is None


def _maps_of(model: nn.Module) -> Tensor:
    classes = torch.arange(12) % 3
    return attribute(class_target(model, classes), toy_batch(12), MapOptions(steps=8))


def test_maps_that_follow_the_weights_change_with_them() -> None:
    told = weight_randomisation(ToyNordF(), _maps_of, GROUPS, layers="all", seed=0, name="x")
    assert told.high < 0.6  # type: ignore[operator]
    assert told.num_images == 12


def test_maps_that_ignore_the_weights_correlate_fully() -> None:
    def edges(model: nn.Module) -> Tensor:
        return toy_batch(12).mean(dim=1)

    told = weight_randomisation(ToyNordF(), edges, GROUPS, layers="all", seed=0, name="x")
    assert told.low == pytest.approx(1.0)


def test_top_layers_are_those_outside_the_backbone() -> None:
    model = ToyNordF()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fresh = randomised(model, "top", 0).state_dict()
    changed = {name.partition(".")[0] for name in weights if not fresh[name].equal(weights[name])}
    assert changed == {"upper", "fc"}
    assert all(tensor.equal(weights[name]) for name, tensor in model.state_dict().items())


def test_all_layers_forget_their_running_statistics_too() -> None:
    model = ToyNordF()
    fresh = randomised(model, "all", 0).state_dict()
    assert fresh["backbone.norm.running_mean"].abs().max() == 0
    assert not fresh["backbone.convolution.weight"].equal(model.backbone.convolution.weight)


def test_parameter_without_an_initialisation_of_its_own_is_shuffled() -> None:
    class Token(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.arange(20.0))

    fresh = randomised(Token(), "top", 0).token.detach()  # type: ignore[union-attr,operator]
    assert not fresh.equal(torch.arange(20.0))
    assert fresh.sort().values.equal(torch.arange(20.0))


def test_new_weights_are_seeded_and_leave_the_global_generator() -> None:
    before = torch.random.get_rng_state()
    one, two, other = (randomised(ToyNordF(), "all", seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.fc.weight.equal(two.fc.weight)  # type: ignore[union-attr,operator,arg-type]
    assert not one.fc.weight.equal(other.fc.weight)  # type: ignore[union-attr,operator,arg-type]


def test_agreement_compares_sizes_without_the_sign() -> None:
    maps = torch.randn(12, 4, 4, generator=torch.Generator().manual_seed(0))
    assert agreement(maps, -maps, GROUPS, 0, "x").mean == pytest.approx(1.0)
    unrelated = torch.randn(12, 4, 4, generator=torch.Generator().manual_seed(1))
    told = agreement(maps, unrelated, GROUPS, 0, "x")
    assert told.low < 0 < told.high  # type: ignore[operator]


def test_completeness_gap_is_small_with_steps_and_large_for_other_maps() -> None:
    model, images = ToyNordF(), toy_batch(12)
    target = class_target(model, torch.arange(12) % 3)
    maps = attribute(target, images, MapOptions())
    assert completeness_gap(target, images, maps, "grey") < 1e-3
    assert completeness_gap(target, images, -maps, "grey") == pytest.approx(2.0, abs=1e-2)
