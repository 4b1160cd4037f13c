"""A step of every recipe on a device that is not the CPU, where there is no such device.

Tensors of the pretended device hold their numbers on the CPU and say that they are elsewhere
(torch's ``meta``, whose autograd needs no hardware). As on a GPU a tensor of the CPU beside them,
but for a single number or an index, a generator of the CPU and ``.numpy()`` are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

from study.data.batches import Augment, DeviceImages, draw
from study.models.registry import build_classifier
from study.recipes.declared_losses import declared_losses
from study.recipes.registry import make_recipe
from study.training.linear import LinearTraining
from study.training.loop import EpochResult, Goal, train
from tests.toys import SIZE, toy_data, toy_images, train_section

ELSEWHERE, CPU = torch.device("meta"), torch.device("cpu")
_MOVES = ("_to_copy", "copy_")
_INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
_LOOKS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero")
_BACKWARD = "_log_softmax_backward_data"  # of the cross-entropy: every recipe's step has one
_SMALL = {"width": 8, "branch_channels": 8, "decoder_blocks": 0, "bank_images": 40}
RUNS: list[tuple[str, dict[str, Any]]] = [
    ("classifier", {"augment": "crop_flip", "detectors": ["knn", "odin"]}),
    ("classifier", {"fine_tune": "linear"}),
    ("energy", {"optimizer": "adam"}),
    *(("outliers", {"loss": loss}) for loss in declared_losses()),
    ("nordf", {**_SMALL, "reconstruction": "perceptual"}),
    ("baselines", {"detector": "knn"}),
]


class Away(Tensor):
    """A tensor of the pretended device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Away:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=ELSEWHERE,
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class Pretending(TorchDispatchMode):
    """Makes what is asked for on the pretended device, and notes what is moved there."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.is_inference_mode_enabled():  # nothing has taken it apart yet
            with self:
                done = func.decompose(*args, **(kwargs or {}))
            if done is not NotImplemented:
                return done
        found = _computed(func, args, kwargs or {})
        if func is torch.ops.aten._to_copy.default and isinstance(found, Away):
            self.moved.append(tuple(found.shape))
        return found


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func._schema.name.removeprefix("aten::")
    given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    away = any(isinstance(one, Away) for one in given)
    wanted = kwargs.get("device")
    if not away and wanted != ELSEWHERE:
        return func(*args, **kwargs)
    _refuse_mixed(name, given[:1] if name in _INDEXED else given, kwargs)
    changed = kwargs if wanted is None else kwargs | {"device": CPU}
    inside = tree_map(lambda one: one.held if isinstance(one, Away) else one, (args, changed))
    out = func(*inside[0], **inside[1])
    if wanted == CPU:
        return out
    if name == "copy_" and not isinstance(args[0], Away):
        return args[0]
    with torch.inference_mode(False):
        out = tree_map(lambda one: Away(one) if isinstance(one, Tensor) else one, out)
    return return_and_correct_aliasing(func, args, kwargs, out) if away else out


def _refuse_mixed(name: str, given: list[Tensor], kwargs: dict[str, Any]) -> None:
    here = [tuple(one.shape) for one in given if not isinstance(one, Away) and one.ndim]
    if here and name not in _MOVES:
        raise RuntimeError(f"{name}: tensors of the CPU, {here}, among those of a device")
    if kwargs.get("generator") is not None:
        raise RuntimeError(f"{name}: a generator of the CPU on a device")


class Watching(Pretending):
    """Notes in their order the backward passes, looks at the device's values, and copies to it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = super().__torch_dispatch__(func, types, args, kwargs)
        name = func._schema.name.removeprefix("aten::")
        away = [isinstance(one, Away) for one in tree_leaves((args, kwargs))]
        from_here = any(isinstance(one, Tensor) for one in args[:2]) and not any(away)
        if name == _BACKWARD or (name in _LOOKS and any(away)):
            self.seen.append(name)
        elif name == "_to_copy" and any(away) and not isinstance(found, Away):
            self.seen.append("to the host")
        elif name == "_to_copy" and from_here and isinstance(found, Away):
            self.seen.append("to the device")
        return found


class _Autocast(torch.autocast):
    """Takes the pretended device for the CPU."""

    def __init__(self, device_type: str, **options: Any) -> None:
        super().__init__("cpu" if device_type == ELSEWHERE.type else device_type, **options)


@pytest.fixture(autouse=True)
def pretended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path))
    monkeypatch.setattr(torch, "autocast", _Autocast)


def _base() -> nn.Module:
    return build_classifier("resnet20", 3, image_size=SIZE, seed=7)


def _epoch(
    name: str, changes: dict[str, Any], device: torch.device, num_images: int = 16
) -> EpochResult:
    """A few steps, one where nothing is said, and their validation."""
    of = "energy" if name in ("energy", "outliers") else "classifier"
    section = train_section(of, epochs=1, epoch_images=num_images, **changes)
    recipe = make_recipe(name, changes if name == "baselines" else section, _base)
    model = recipe.build_model("resnet20", 3, dropout=0.0, image_size=SIZE, seed=7)
    goal = Goal("val/fpr95", None)
    return next(train(recipe, model, toy_data(), seed=7, goal=goal, device=device))


@pytest.mark.filterwarnings("ignore")  # torch warns of what meta tensors would lose
@pytest.mark.parametrize(("name", "changes"), RUNS)
def test_step_of_a_recipe_on_a_device_mixes_none_and_tells_what_the_cpu_tells(
    name: str, changes: dict[str, Any]
) -> None:
    expected = _epoch(name, changes, CPU)
    with Pretending():
        found = _epoch(name, changes, ELSEWHERE)
    assert {one.device for one in found.state.model.values()} == {ELSEWHERE}
    for metric in expected.metrics.keys() - {"time_s", "images_per_s"}:
        assert found.metrics[metric] == pytest.approx(expected.metrics[metric]), metric


@pytest.mark.filterwarnings("ignore")  # torch warns of what meta tensors would lose
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("classifier", {"fine_tune": "linear"}),
        ("energy", {"optimizer": "adam"}),
        ("outliers", {"loss": "distributional"}),
        ("nordf", _SMALL | {"reconstruction": "perceptual"}),
    ],
)
def test_epoch_on_a_device_looks_at_no_value_and_sends_nothing_between_its_steps(
    name: str, changes: dict[str, Any]
) -> None:
    with Watching() as watching:
        _epoch(name, changes | {"augment": "crop_flip"}, ELSEWHERE, num_images=32)
    first = watching.seen.index(_BACKWARD)
    assert watching.seen[first : first + 3] == [_BACKWARD, _BACKWARD, "to the host"]


def test_watching_sees_looks_and_copies() -> None:
    with Watching() as watching:
        values = torch.ones(3).to(ELSEWHERE)
        values.sum().item()
        values.cpu()
        values.nonzero()
    assert watching.seen == ["to the device", "_local_scalar_dense", "to the host", "nonzero"]


def test_pretended_device_refuses_what_a_gpu_refuses() -> None:
    with Pretending():
        values = torch.ones(2, 3).to(ELSEWHERE)
        with pytest.raises(RuntimeError, match="tensors of the CPU"):
            values + torch.ones(3)
        with pytest.raises(RuntimeError, match="generator of the CPU"):
            torch.randperm(3, generator=torch.Generator(), device=ELSEWHERE)
        with pytest.raises(RuntimeError, match="numpy"):
            values.numpy()
        assert (values * torch.tensor(2.0)).sum().item() == 12


@pytest.mark.parametrize("augment", ["none", "crop_flip"])
def test_images_gathered_on_a_device_are_those_that_the_cpu_gathers(augment: Augment) -> None:
    images = toy_images("set", 40)
    rows, generator = np.arange(40)[::-1].copy(), np.random.default_rng(3)
    draws = draw(rows, augment, generator, images.pixels.shape[1])
    with Pretending():
        found = DeviceImages(images, ELSEWHERE).gather(draws)
    assert isinstance(found, Away)
    assert torch.equal(found.held, DeviceImages(images, CPU).gather(draws))


@pytest.mark.filterwarnings("ignore")  # torch warns of what meta tensors would lose
def test_views_beyond_what_a_gpu_is_to_hold_travel_batch_by_batch() -> None:
    section = train_section(fine_tune="linear", augment="crop_flip", feature_views=2)
    recipe, data = make_recipe("classifier", section), toy_data()
    moved, features = [], []
    for most in (2 * 60 * 64 * 4, 2 * 60 * 64 * 4 - 1):  # bytes of two views of 60 images
        with Pretending() as pretending:
            model = recipe.build_model("resnet20", 3, dropout=0.0, image_size=SIZE, seed=7)
            model.to(ELSEWHERE)
            pretending.moved.clear()
            training = LinearTraining(recipe, model, data, 7, ELSEWHERE, most_on_device=most)
            features.append([one.images for one in training.batches(1)])
        moved.append([shape for shape in pretending.moved if shape[1:] == (64,)])
    held, travelled = moved
    assert held == [(120, 64)]
    assert travelled == [(16, 64)] * 3 + [(12, 64)]
    for one, other in zip(*features, strict=True):
        assert isinstance(one, Away)
        assert isinstance(other, Away)
        assert torch.equal(one.held, other.held)
