"""Checkpoints in the public layouts of self-supervised training, written here from one network."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from study.bases.initial import bring_initial
from study.models.imagenet import load_imagenet
from study.models.names import NORMALISATIONS, Network
from study.models.registry import build_classifier
from study.models.ssl import network_in
from study.models.weights import save_weights

Weights = dict[str, Tensor]
SSL_HEADS = ("fc.weight", "fc.bias")


@pytest.fixture(scope="module")
def native() -> Weights:
    """torchvision's ResNet-18, with norms that are not all ones and zeros."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = models.get_model("resnet18", weights=None)
        for parameter in network.parameters():
            if parameter.ndim == 1:
                nn.init.uniform_(parameter, 0.5, 1.5)
    return {name: tensor.detach() for name, tensor in network.state_dict().items()}


def _behind(prefix: str, weights: Weights) -> Weights:
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


def _other(weights: Weights) -> Weights:
    return {name: torch.zeros_like(tensor) for name, tensor in weights.items()}


def _byol(w: Weights) -> dict[str, Any]:
    projector = {"module.net.0.weight": torch.ones(4, 4)}
    return {
        "online_backbone": _behind("module.", w),
        "target_backbone": _behind("module.", _other(w)),
        "online_projector": projector,
        "epoch": 300,
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": []},
    }


def _dino(w: Weights) -> dict[str, Any]:
    head = {"head.mlp.0.weight": torch.ones(4, 4)}
    return {
        "student": {**_behind("module.backbone.", _other(w)), "module.head.last.weight": head},
        "teacher": {**_behind("backbone.", w), **head},
        "args": argparse.Namespace(arch="resnet50", lr=0.3),
        "dino_loss": {"center": torch.zeros(1, 8)},
    }


def _moco(w: Weights) -> dict[str, Any]:
    both = _behind("module.encoder_q.", w) | _behind("module.encoder_k.", _other(w))
    return {"state_dict": {**both, "module.queue": torch.zeros(4, 8)}, "arch": "resnet50"}


def _moco_v3(w: Weights) -> dict[str, Any]:
    both = _behind("module.base_encoder.", w) | _behind("module.momentum_encoder.", _other(w))
    return {"state_dict": both}


def _barlow(w: Weights) -> dict[str, Any]:
    projector = {
        "module.projector.0.weight": torch.ones(4, 4),
        "module.bn.running_mean": w["bn1.bias"],
    }
    return {"epoch": 1000, "model": {**_behind("module.backbone.", w), **projector}}


LAYOUTS: dict[str, tuple[Callable[[Weights], dict[str, Any]], str]] = {
    "plain": (lambda w: dict(w), ""),
    "module": (lambda w: _behind("module.", w), "module"),
    "byol": (_byol, "online_backbone.module"),
    "dino training": (_dino, "teacher.backbone"),
    "moco": (_moco, "state_dict.module.encoder_q"),
    "moco v3": (_moco_v3, "state_dict.module.base_encoder"),
    "simsiam": (
        lambda w: {"state_dict": _behind("module.encoder.", w)},
        "state_dict.module.encoder",
    ),
    "barlow twins training": (_barlow, "model.module.backbone"),
    "swav": (
        lambda w: _behind("module.", {**w, "projection_head.0.weight": torch.ones(2, 2)}),
        "module",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("with_head", [False, True])
def test_checkpoint_in_a_public_layout_gives_its_evaluated_network(
    layout: str, with_head: bool, native: Weights, tmp_path: Path
) -> None:
    kept = {name: t for name, t in native.items() if with_head or name not in SSL_HEADS}
    write, where = LAYOUTS[layout]
    torch.save(write(kept), tmp_path / "w.pth")
    model = build_classifier("resnet18", 3, seed=0)
    fresh = model.backbone.state_dict()["conv1.weight"].clone()
    told = load_imagenet("resnet18", model, tmp_path / "w.pth")
    assert told.layout == where
    assert told.tensors == ("conv1.weight",)
    assert set(SSL_HEADS) <= set(told.unused) or not with_head
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, fresh if name == "conv1.weight" else native[name])


def test_what_else_a_checkpoint_holds_is_told(native: Weights, tmp_path: Path) -> None:
    torch.save(_byol({n: t for n, t in native.items() if n not in SSL_HEADS}), tmp_path / "w.pth")
    told = load_imagenet("resnet18", build_classifier("resnet18", 3, seed=0), tmp_path / "w.pth")
    assert {one.split(".")[0] for one in told.unused} == {
        "target_backbone",
        "online_projector",
        "optimizer",
    }


def test_two_networks_without_a_rule_between_them_are_refused() -> None:
    names = {"conv1.weight", "bn1.weight"}
    content = {key: dict.fromkeys(names, torch.ones(1)) for key in ("left", "right")}
    with pytest.raises(ValueError, match=r"it holds 2 such networks, left\., right\."):
        network_in(content, names)


def test_checkpoint_of_nothing_alike_is_refused_naming_what_it_holds() -> None:
    with pytest.raises(ValueError, match=r"no tensor .* it holds blocks"):
        network_in({"blocks": {"qkv.weight": torch.ones(1)}}, {"conv1.weight"})


def test_checkpoint_with_a_missing_tensor_is_refused_whole(
    native: Weights, tmp_path: Path
) -> None:
    torch.save(_byol({n: t for n, t in native.items() if n != "bn1.bias"}), tmp_path / "w.pth")
    model = build_classifier("resnet18", 3, seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"missing bn1\.bias"):
        load_imagenet("resnet18", model, tmp_path / "w.pth")
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_checkpoint_of_another_architecture_is_refused(native: Weights, tmp_path: Path) -> None:
    torch.save({"online_backbone": _behind("module.", native)}, tmp_path / "w.pth")
    model = build_classifier("resnet50", 3, seed=0)
    with pytest.raises(ValueError, match="does not fit resnet50: missing"):
        load_imagenet("resnet50", model, tmp_path / "w.pth")


class _Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("the pickle ran code",)


@pytest.mark.filterwarnings("ignore")
def test_checkpoint_whose_options_would_run_code_is_refused(
    native: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({**_dino(native), "args": argparse.Namespace(x=_Evil())}, tmp_path / "w.pth")
    capsys.readouterr()
    with pytest.raises(ValueError, match="is refused"):
        load_imagenet("resnet18", build_classifier("resnet18", 3, seed=0), tmp_path / "w.pth")
    assert "ran code" not in capsys.readouterr().out


def test_bring_initial_native_stem_takes_every_tensor_and_the_normalisation(
    native: Weights, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    save_file({n: t.clone() for n, t in native.items() if n not in SSL_HEADS}, path)
    network = Network("imagenet", "half")
    (one,) = bring_initial(["resnet18"], 32, dropout=0.0, file=path, seed=0, network=network)
    assert one.loaded.tensors == one.loaded.fitted == one.loaded.unused == ()
    assert one.weights["backbone.conv1.weight"].shape == (64, 3, 7, 7)
    assert tuple(one.weights["mean"].ravel()) == (0.5, 0.5, 0.5)


def test_bring_initial_of_the_projects_own_file_leaves_its_head_out(tmp_path: Path) -> None:
    model = build_classifier("resnet20", 10, seed=3, network=Network(normalisation="cifar"))
    save_weights(model, tmp_path / "own.safetensors")
    (one,) = bring_initial(
        ["resnet20"], 32, dropout=0.0, file=tmp_path / "own.safetensors", seed=0
    )
    assert set(one.loaded.unused) == set(SSL_HEADS)
    assert not any(name.startswith("fc.") for name in one.weights)
    mean = torch.tensor(NORMALISATIONS["cifar"][0])
    assert torch.equal(torch.from_numpy(one.weights["mean"]).ravel(), mean)


@pytest.mark.parametrize(
    ("backbone", "size", "match"),
    [("resnet20", 32, "not of resnet20"), ("resnet18", 16, "stride 32")],
)
def test_build_classifier_native_stem_where_there_is_none_refused(
    backbone: str, size: int, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        build_classifier(backbone, 3, image_size=size, seed=0, network=Network("imagenet"))


def test_build_classifier_native_stem_has_stride_32() -> None:
    model = build_classifier("resnet18", 3, image_size=64, seed=0, network=Network("imagenet"))
    maps = model.eval().backbone.maps(torch.rand(1, 3, 64, 64))
    assert maps.shape == (1, 512, 2, 2)
    assert model.backbone.stride == 32
