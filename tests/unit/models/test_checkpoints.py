"""Checkpoints in public layouts, written here from networks with random weights."""

from __future__ import annotations

import argparse
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from study.bases.initial import bring_initial
from study.errors import BadInput
from study.models.checkpoints import network_in
from study.models.names import NORMALISATIONS, Network
from study.models.pretrained import DoesNotFit, Pretrained, load_pretrained, pretrained
from study.models.registry import build_backbone, build_classifier
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
    told = load_pretrained("resnet18", model, tmp_path / "w.pth")
    assert told.layout == where
    assert told.tensors == ("conv1.weight",)
    assert set(SSL_HEADS) <= set(told.unused) or not with_head
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, fresh if name == "conv1.weight" else native[name])


def test_what_else_a_checkpoint_holds_is_told(native: Weights, tmp_path: Path) -> None:
    torch.save(_byol({n: t for n, t in native.items() if n not in SSL_HEADS}), tmp_path / "w.pth")
    told = load_pretrained("resnet18", build_classifier("resnet18", 3, seed=0), tmp_path / "w.pth")
    assert {one.split(".")[0] for one in told.unused} == {
        "target_backbone",
        "online_projector",
        "optimizer",
    }


def test_two_networks_without_a_rule_between_them_are_refused() -> None:
    names = {"conv1.weight", "bn1.weight"}
    content = {
        key: dict.fromkeys(names, torch.full((1,), float(len(key)))) for key in ("left", "right")
    }
    with pytest.raises(
        ValueError, match=r"it holds 2 such networks, left, right; .* model.weights_key"
    ):
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
    with pytest.raises(BadInput, match=r"missing bn1\.bias"):
        load_pretrained("resnet18", model, tmp_path / "w.pth")
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_checkpoint_of_another_architecture_is_refused(native: Weights, tmp_path: Path) -> None:
    torch.save({"online_backbone": _behind("module.", native)}, tmp_path / "w.pth")
    model = build_classifier("resnet50", 3, seed=0)
    with pytest.raises(BadInput, match="does not fit resnet50: missing"):
        load_pretrained("resnet50", model, tmp_path / "w.pth")


class _Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("the pickle ran code",)


@pytest.mark.filterwarnings("ignore")
def test_checkpoint_whose_options_would_run_code_is_refused(
    native: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({**_dino(native), "args": argparse.Namespace(x=_Evil())}, tmp_path / "w.pth")
    capsys.readouterr()
    with pytest.raises(BadInput, match="refused"):
        load_pretrained("resnet18", build_classifier("resnet18", 3, seed=0), tmp_path / "w.pth")
    assert "ran code" not in capsys.readouterr().out


def test_bring_initial_native_stem_takes_every_tensor_and_the_normalisation(
    native: Weights, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    save_file({n: t.clone() for n, t in native.items() if n not in SSL_HEADS}, path)
    network = Network("imagenet", "half")
    (one,) = bring_initial(["resnet18"], 32, dropout=0.0, file=path, network=network)
    assert one.loaded.tensors == one.loaded.fitted == one.loaded.unused == ()
    assert one.weights["backbone.conv1.weight"].shape == (64, 3, 7, 7)
    assert tuple(one.weights["mean"].ravel()) == (0.5, 0.5, 0.5)


def test_bring_initial_of_the_projects_own_file_leaves_its_head_out(tmp_path: Path) -> None:
    model = build_classifier("resnet20", 10, seed=3, network=Network(normalisation="cifar"))
    save_weights(model, tmp_path / "own.safetensors")
    (one,) = bring_initial(["resnet20"], 32, dropout=0.0, file=tmp_path / "own.safetensors")
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


# ---- CIFAR-sized classifiers, as training scripts write them --------------------------------


def _classifier(backbone: str, seed: int = 1, classes: int = 10) -> Weights:
    """A backbone's tensors by its own names and a head ``fc``, with norms that are not fresh."""
    model = build_classifier(backbone, classes, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in model.state_dict().items():
        if name in ("mean", "std"):
            continue
        if tensor.ndim == 1:
            tensor = torch.rand(tensor.shape, generator=generator) + 0.5
        state[name.removeprefix("backbone.")] = tensor
    return state


def _renamed(weights: Weights, *pairs: tuple[str, str]) -> Weights:
    renamed = {}
    for name, tensor in weights.items():
        for pattern, theirs in pairs:
            name = re.sub(pattern, theirs, name)
        renamed[name] = tensor
    return renamed


def _averaged(weights: Weights) -> Weights:
    return {n: t * 1.01 if t.is_floating_point() else t for n, t in weights.items()}


def _without_head(weights: Weights) -> Weights:
    return {name: tensor for name, tensor in weights.items() if not name.startswith("fc.")}


_LINEAR = (r"^fc\.", "linear.")
_CHILDREN = ((r"^conv1\.", "0."), (r"^bn1\.", "1."))
_TORCHVISION = [(rf"^layer{n}\.", f"{n + 3}.") for n in (1, 2, 3, 4)]
_LIGHTLY = [(rf"^layer{n}\.", f"{n + 1}.") for n in (1, 2, 3, 4)]
_KUANGLIU = ((r"\.downsample\.", ".shortcut."), _LINEAR)
_ENERGY = ((r"^(block\d)\.", r"\1.layer."), (r"\.shortcut\.", ".convShortcut."))


def _read(content: Any, backbone: str, tmp_path: Path, key: str | None = None) -> Pretrained:
    torch.save(content, tmp_path / "w.pth")
    return pretrained(backbone, build_classifier(backbone, 2, seed=0), tmp_path / "w.pth", key)


# layout -> (backbone, how its file is written, where the network is, name of its head)
CLASSIFIERS: dict[str, tuple[str, Callable[[Weights], Any], str, str]] = {
    "akamaster": (
        "resnet20",
        lambda w: {"state_dict": _behind("module.", _renamed(w, _LINEAR)), "best_prec1": 91.2},
        "state_dict.module",
        "linear",
    ),
    "energy paper": ("wrn_16_2", lambda w: _renamed(w, *_ENERGY), "", "fc"),
    "energy paper, parallel": (
        "wrn_40_2",
        lambda w: _behind("module.", _renamed(w, *_ENERGY)),
        "module",
        "fc",
    ),
    "wide, with a ResNet's names": (
        "wrn_16_4",
        lambda w: _renamed(
            w, (r"^block", "layer"), (r"\.shortcut\.", ".shortcut.0."), (r"^bn1\.", "bn.")
        ),
        "",
        "fc",
    ),
    "kuangliu": (
        "resnet18",
        lambda w: {"net": _behind("module.", _renamed(w, *_KUANGLIU)), "acc": 95.1, "epoch": 3},
        "net.module",
        "linear",
    ),
    "OpenOOD": ("resnet18", lambda w: _renamed(w, _KUANGLIU[0]), "", "fc"),
    "compiled": (
        "resnet20",
        lambda w: {"state_dict": _behind("_orig_mod.", w)},
        "state_dict._orig_mod",
        "fc",
    ),
    "compiled, parallel": (
        "resnet20",
        lambda w: {"model": _behind("_orig_mod.module.", w)},
        "model._orig_mod.module",
        "fc",
    ),
    "compiled layer by layer": (
        "resnet20",
        lambda w: _renamed(w, (r"^(layer\d)\.", r"\1._orig_mod.")),
        "",
        "fc",
    ),
    "solo-learn": (
        "resnet18",
        lambda w: {
            "state_dict": {
                **_behind("backbone.", _without_head(w)),
                **_behind("momentum_backbone.", _averaged(_without_head(w))),
                "classifier.weight": w["fc.weight"],
                "classifier.bias": w["fc.bias"],
                "momentum_classifier.weight": w["fc.weight"] * 2,
                "projector.0.weight": torch.ones(10, 512),
            },
            "hyper_parameters": {"lr": 0.1},
        },
        "state_dict.backbone",
        "classifier",
    ),
    "lightly, torchvision's network": (
        "resnet18",
        lambda w: {
            "state_dict": {
                **_behind("backbone.", _renamed(_without_head(w), *_TORCHVISION, *_CHILDREN)),
                "online_classifier.linear.weight": w["fc.weight"],
                "online_classifier.linear.bias": w["fc.bias"],
                "projection_head.layers.0.weight": torch.ones(10, 512),
            }
        },
        "state_dict.backbone",
        "online_classifier.linear",
    ),
    "lightly, its own network": (
        "resnet18",
        lambda w: {
            "state_dict": _behind(
                "backbone.",
                _renamed(
                    w, (r"\.downsample\.", ".shortcut."), *_LIGHTLY, *_CHILDREN, (r"^fc", "fc")
                ),
            )
        },
        "state_dict.backbone",
        "fc",
    ),
    "timm's trainer": ("resnet18", lambda w: {"state_dict_ema": w, "arch": "resnet18"}, "", "fc"),
    "Lightning": (
        "densenet121",
        lambda w: {"state_dict": _behind("net.", _renamed(w, (r"^fc\.", "classifier.")))},
        "state_dict.net",
        "classifier",
    ),
    "head of another name": (
        "resnet20",
        lambda w: _renamed(w, (r"^fc\.", "last_layer_of_mine.")),
        "",
        "last_layer_of_mine",
    ),
    "head under head": (
        "vit_tiny",
        lambda w: {"model": _renamed(w, (r"^fc\.", "head."))},
        "model",
        "head",
    ),
    "number of numpy": (
        "resnet20",
        lambda w: {"state_dict": w, "best_acc": np.float64(0.912)},
        "state_dict",
        "fc",
    ),
    "counters": (
        "resnet20",
        lambda w: {
            "state_dict": {
                **w,
                "total_ops": torch.tensor(4.1e7),
                "total_params": torch.tensor(2.7e5),
                "layer1.0.conv1.total_ops": torch.tensor(1.0),
                "layer1.0.conv1.total_params": torch.tensor(float("nan")),
            }
        },
        "state_dict",
        "fc",
    ),
    "average": (
        "resnet20",
        lambda w: {
            "model": _averaged(w),
            "model_ema": {"n_averaged": torch.tensor(5), **_behind("module.", w)},
        },
        "model_ema.module",
        "fc",
    ),
    "half precision": ("resnet20", lambda w: {n: _halved(t) for n, t in w.items()}, "", "fc"),
    "without a bias": (
        "resnet20",
        lambda w: {name: tensor for name, tensor in w.items() if name != "fc.bias"},
        "",
        "fc",
    ),
}


def _halved(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


@pytest.mark.parametrize("layout", CLASSIFIERS)
def test_classifier_in_a_public_layout_gives_its_network_and_its_head(
    layout: str, tmp_path: Path
) -> None:
    backbone, write, where, head = CLASSIFIERS[layout]
    weights = _classifier(backbone)
    found = _read(write(weights), backbone, tmp_path)
    assert found.loaded.tensors == ()
    assert found.loaded.layout in (where, "state_dict_ema")
    half = layout == "half precision"
    for name, tensor in found.backbone.items():
        assert torch.equal(tensor, _halved(weights[name]) if half else weights[name]), name
    taken = found.head(10)
    assert taken is not None
    assert taken[0] == head
    assert torch.equal(taken[1], _halved(weights["fc.weight"]) if half else weights["fc.weight"])
    assert found.head(11) is None


def test_another_network_with_pieces_of_equal_names_is_told_as_another(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no more than \d+ of the network's 114 tensors") as caught:
        _read({"state_dict": _classifier("wrn_16_2")}, "resnet20", tmp_path)
    assert "weights_key" not in str(caught.value)


def test_network_that_was_saved_whole_is_found(tmp_path: Path) -> None:
    network = build_backbone("resnet20", seed=3)
    found = _read({"model": network, "epoch": 3}, "resnet20", tmp_path)
    assert found.loaded.layout == "model"
    for name, tensor in network.state_dict().items():
        assert torch.equal(found.backbone[name], tensor)


def test_several_networks_are_told_and_the_key_names_one(tmp_path: Path) -> None:
    one, other = (_classifier("resnet20", seed) for seed in (1, 2))
    content = {"left": one, "right": {"net": other}}
    with pytest.raises(BadInput, match=r"2 such networks, left, right\.net; .*weights_key"):
        _read(content, "resnet20", tmp_path)
    for key in ("right", "right.net", "right.net."):
        found = _read(content, "resnet20", tmp_path, key)
        assert torch.equal(found.backbone["conv1.weight"], other["conv1.weight"])
        assert found.loaded.copies == ("left",)
    with pytest.raises(BadInput, match=r"weights_key: 'middle' leads to none .* left, right\.net"):
        _read(content, "resnet20", tmp_path, "middle")


def test_momentum_copy_is_taken_where_the_key_names_it(tmp_path: Path) -> None:
    weights = _without_head(_classifier("resnet20"))
    copy = _averaged(weights)
    both = _behind("backbone.", weights) | _behind("momentum_backbone.", copy)
    found = _read({"state_dict": both}, "resnet20", tmp_path)
    assert torch.equal(found.backbone["conv1.weight"], weights["conv1.weight"])
    assert found.loaded.copies == ("state_dict.momentum_backbone",)
    key = "state_dict.momentum_backbone"
    found = _read({"state_dict": both}, "resnet20", tmp_path, key)
    assert torch.equal(found.backbone["conv1.weight"], copy["conv1.weight"])


def test_equal_networks_under_two_keys_are_one(tmp_path: Path) -> None:
    weights = _classifier("resnet20")
    found = _read({"model": weights, "state_dict": weights}, "resnet20", tmp_path)
    assert torch.equal(found.backbone["conv1.weight"], weights["conv1.weight"])


@pytest.mark.parametrize("name", ["layer2.0.conv1.weight", "bn1.running_var", "fc.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(
    name: str, value: float, tmp_path: Path
) -> None:
    weights = _classifier("resnet20")
    weights[name] = weights[name].clone()
    weights[name].view(-1)[3] = value
    shown = "fc" if name.startswith("fc") else re.escape(name)
    with pytest.raises(DoesNotFit, match=rf"not finite \(NaN or infinite\): {shown}"):
        _read(weights, "resnet20", tmp_path)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("resnet32", "resnet20"), ("resnet20", "resnet56"), ("wrn_16_4", "wrn_16_2")],
)
def test_file_of_another_backbone_of_its_kind_is_refused_by_the_name_of_that(
    given: str, wanted: str, tmp_path: Path
) -> None:
    with pytest.raises(DoesNotFit, match=f"They are of {given}: set model.backbone") as caught:
        _read({"state_dict": _classifier(given)}, wanted, tmp_path)
    listed = caught.value.listing.splitlines()
    assert len(listed) > 20
    assert all(line.startswith(("missing", "not in the model", "of another")) for line in listed)


def test_cifar_resnet_with_convolutions_in_its_shortcuts_is_refused(tmp_path: Path) -> None:
    weights = _classifier("resnet20") | {"layer2.0.shortcut.0.weight": torch.ones(32, 16, 1, 1)}
    with pytest.raises(DoesNotFit, match=r"not in the model layer2\.0\.shortcut\.0\.weight"):
        _read(weights, "resnet20", tmp_path)


def test_weights_in_whole_numbers_are_refused(tmp_path: Path) -> None:
    weights = _classifier("resnet20")
    weights["conv1.weight"] = (weights["conv1.weight"] * 100).to(torch.int8)
    with pytest.raises(DoesNotFit, match=r"conv1\.weight \(holds torch\.int8"):
        _read(weights, "resnet20", tmp_path)


def test_head_behind_a_stem_that_is_fresh_is_not_taken(native: Weights, tmp_path: Path) -> None:
    assert _read(native, "resnet18", tmp_path).head(1000) is None


def test_head_of_vgg_is_not_taken_where_its_poolings_are_left_out(tmp_path: Path) -> None:
    weights = _renamed(_classifier("vgg16_bn"), (r"^fc\.", "classifier."))
    torch.save({"net": weights}, tmp_path / "w.pth")
    small, large = (
        pretrained(
            "vgg16_bn",
            build_classifier("vgg16_bn", 2, image_size=size, seed=0),
            tmp_path / "w.pth",
        )
        for size in (32, 224)
    )
    assert small.head(10) is None
    assert large.head(10) is not None


def test_public_resnet_computes_what_its_own_code_does(shared_data: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    # Whether the file is loaded right, normalisation and all: .81 is in the data's README.
    rows = parquet.read_table(shared_data / "cifar10" / "test.parquet").slice(0, 2000).to_pylist()
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(row["img"]["bytes"]))) for row in rows])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    model = build_classifier("resnet20", 10, seed=0).eval()
    found = pretrained("resnet20", model, shared_data / "weights" / "resnet20_cifar10_public.th")
    model.backbone.load_state_dict(found.backbone)
    head = found.head(10)
    assert head is not None
    model.fc.load_state_dict({"weight": head[1], "bias": head[2]})
    with torch.inference_mode():
        predicted = torch.cat([model(part).argmax(dim=1) for part in images.split(250)])
    accuracy = np.mean(predicted.numpy() == [row["label"] for row in rows])
    assert accuracy == pytest.approx(0.81, abs=0.02)
