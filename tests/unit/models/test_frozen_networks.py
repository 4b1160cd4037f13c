import os
import weakref
from typing import get_args

import pytest
import torch
from torch import nn
from torchvision import models

from study.errors import BadInput
from study.models.frozen_networks import (
    IMAGENET_NETWORKS,
    FrozenNetwork,
    classifier_layers,
    frozen_classifier,
    imagenet_network,
)
from study.models.registry import build_classifier
from study.models.weights import save_weights
from study.recipes.nordf_params import PerceptualNetwork


class Counted(nn.Module):
    """Three layers, each of which counts its passes."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.second = nn.Conv2d(4, 4, 1)
        self.last = nn.Conv2d(4, 4, 1)
        self.unused = nn.Identity()
        self.passes = []
        for name, layer in self.named_children():
            layer.register_forward_pre_hook(lambda *_, name=name: self.passes.append(name))

    def forward(self, x):
        x = nn.functional.relu(self.first(x), inplace=True)
        return self.last(self.second(x))


@pytest.fixture(scope="module")
def classifier():
    return build_classifier("resnet20", 10, seed=0).eval()


def images(count=2, size=16):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def hooks_of(module):
    return sum(len(part._forward_hooks) for part in module.modules())


def test_frozen_classifier_gives_the_maps_of_its_default_layers(classifier):
    maps = frozen_classifier(classifier)(images())
    assert {name: tuple(one.shape) for name, one in maps.items()} == {
        "layer1": (2, 16, 16, 16),
        "layer2": (2, 32, 8, 8),
        "layer3": (2, 64, 4, 4),
    }


def test_frozen_classifier_normalises_once_with_the_classifiers_own_numbers():
    classifier = build_classifier("resnet20", 10, seed=0).eval()
    classifier.mean.fill_(0.2)
    classifier.std.fill_(0.7)
    maps = frozen_classifier(classifier)(images())["layer3"]
    torch.testing.assert_close(maps.mean(dim=(2, 3)), classifier.features(images()))


def test_frozen_classifier_leaves_the_classifier_as_it_was():
    classifier = build_classifier("resnet20", 10, seed=0)
    frozen_classifier(classifier)
    assert classifier.backbone.training
    assert all(parameter.requires_grad for parameter in classifier.parameters())


def test_frozen_network_stays_in_evaluation_mode_when_a_parent_trains(classifier):
    parent = nn.ModuleDict({"frozen": frozen_classifier(classifier)})
    parent.train()
    assert not any(part.training for part in parent["frozen"].modules())


def test_frozen_network_takes_no_gradient_and_passes_it_to_the_images(classifier):
    frozen, pixels = frozen_classifier(classifier), images().requires_grad_()
    frozen(pixels)["layer2"].sum().backward()
    assert pixels.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_frozen_network_stops_behind_the_deepest_layer():
    network = Counted()
    FrozenNetwork(network, ("first", "second"))(images())
    assert network.passes == ["first", "second"]


def test_frozen_network_gives_a_layer_before_what_works_in_place():
    network = Counted()
    maps = FrozenNetwork(network, ("first", "last"), mean=(0, 0, 0), std=(1, 1, 1))(images())
    torch.testing.assert_close(maps["first"], network.first(images()))
    assert (maps["first"] < 0).any()


def test_frozen_network_gives_the_first_output_of_a_repeated_layer():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 2, 1))
    network.insert(1, network[0])
    frozen = FrozenNetwork(network, ("0", "2"), mean=(0, 0, 0), std=(1, 1, 1))
    torch.testing.assert_close(frozen(images())["0"], network[0](images()))


def test_frozen_network_keeps_neither_hooks_nor_maps(classifier):
    frozen = frozen_classifier(classifier)
    held = [weakref.ref(one) for one in frozen(images().requires_grad_()).values()]
    assert [reference() for reference in held] == [None] * 3
    assert hooks_of(frozen) == 0


def test_frozen_network_removes_its_hooks_after_an_error(classifier):
    frozen = frozen_classifier(classifier)
    with pytest.raises(RuntimeError):
        frozen(torch.rand(2, 5, 16, 16))
    assert hooks_of(frozen) == 0


def test_frozen_network_gives_layers_in_the_order_asked(classifier):
    maps = frozen_classifier(classifier)(images(), ("layer2.1", "layer1"))
    assert list(maps) == ["layer2.1", "layer1"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (("layer1", "layer4"), r"no \['layer4'\]; there are \['conv1', 'bn1', 'layer1', 'layer1"),
        (("",), r"no \[''\]"),
        ((), "one layer or more"),
        (("layer1", "layer1"), "each once"),
    ],
)
def test_frozen_network_bad_layers_raise(classifier, layers, message):
    with pytest.raises(ValueError, match=message):
        frozen_classifier(classifier)(images(), layers)


def test_frozen_network_layer_never_reached_raises():
    with pytest.raises(ValueError, match=r"never reaches \['unused'\]"):
        FrozenNetwork(Counted(), ("unused",))(images())


def test_frozen_network_layer_that_gives_no_tensor_raises():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(ValueError, match="0 gives a tuple"):
        FrozenNetwork(nn.Sequential(Pair()), ("0",))(images())


def test_frozen_classifier_without_default_layers_raises(classifier):
    strange = build_classifier("resnet20", 10, seed=0)
    strange.backbone = Counted()
    with pytest.raises(ValueError, match=r"Counted; name some of \['first', 'last'"):
        frozen_classifier(strange)
    assert frozen_classifier(strange, ("second",)).default_layers == ("second",)


@pytest.mark.parametrize("backbone", ["wrn_16_2", "vgg16_bn", "densenet121", "vit_tiny"])
def test_classifier_layers_of_every_family_give_maps(backbone):
    classifier = build_classifier(backbone, 10, seed=0)
    maps = frozen_classifier(classifier)(images(1, 32))
    assert tuple(maps) == classifier_layers(classifier)
    assert all(one.abs().sum() > 0 for one in maps.values())


def test_names_for_the_yaml_are_those_that_can_be_built():
    assert ("base", *IMAGENET_NETWORKS) == get_args(PerceptualNetwork)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("vgg16", [(64, 32), (128, 16), (256, 8), (512, 4)]),
        ("resnet50", [(256, 8), (512, 4), (1024, 2)]),
        ("efficientnet_b0", [(24, 8), (40, 4), (112, 2)]),
        ("convnext_tiny", [(96, 8), (192, 4), (384, 2)]),
    ],
)
def test_imagenet_network_default_layers_have_these_maps(monkeypatch, name, shapes):
    def fetched(*arguments, **options):
        with torch.device("meta"):
            return models.get_model(name).state_dict()

    def fill(network, tensors, source):
        network.to("meta")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetched)
    monkeypatch.setattr("study.models.frozen_networks.load_into", fill)
    maps = imagenet_network(name).to("meta")(torch.empty(1, 3, 32, 32, device="meta"))
    assert [(one.shape[1], one.shape[2]) for one in maps.values()] == shapes


@pytest.fixture(scope="module")
def efficientnet():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return models.efficientnet_b0(weights=None).eval()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_imagenet_network_from_a_file_computes_what_torchvision_does(
    tmp_path, efficientnet, suffix
):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(efficientnet.state_dict(), path)
    else:
        save_weights(efficientnet, path)
    frozen = imagenet_network("efficientnet_b0", path)
    normalised = (images(1, 32) - frozen.mean) / frozen.std
    torch.testing.assert_close(
        frozen(images(1, 32))["features.5"], efficientnet.features[:6](normalised)
    )


def test_imagenet_network_from_a_file_without_head_and_counters_loads(tmp_path, efficientnet):
    tensors = {
        name: tensor
        for name, tensor in efficientnet.state_dict().items()
        if not name.startswith("classifier.") and not name.endswith("num_batches_tracked")
    }
    torch.save(tensors, tmp_path / "old.pth")
    frozen = imagenet_network("efficientnet_b0", tmp_path / "old.pth")
    first = "features.0.0.weight"
    assert torch.equal(frozen.network.state_dict()[first], tensors[first])


class Planted:
    def __reduce__(self):
        return os.getcwd, ()


def test_imagenet_network_bad_file_raises_with_its_name(tmp_path, efficientnet):
    (tmp_path / "torn.pth").write_bytes(b"PK\x03\x04 torn")
    torch.save({"features": Planted()}, tmp_path / "planted.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    part = dict(efficientnet.state_dict())
    part.pop("features.0.0.weight")
    torch.save(part, tmp_path / "part.pth")
    for name, message in {
        "missing.pth": "cannot be read as weights",
        "missing.safetensors": "cannot be read as weights",
        "torn.pth": "cannot be read as weights",
        "planted.pth": "cannot be read as weights",
        "list.pth": "no tensor in it has the name",
        "other.pth": "no tensor in it has the name",
        "part.pth": "features.0.0.weight: is missing",
    }.items():
        with pytest.raises(BadInput, match=message) as caught:
            imagenet_network("efficientnet_b0", tmp_path / name)
        assert name in str(caught.value)


def test_imagenet_network_without_weights_raises_with_the_way_out(monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no route")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(BadInput, match=r"no route.* Give a file \(https.*project's own base"):
        imagenet_network("efficientnet_b0")


def test_imagenet_network_unknown_layer_raises_before_weights_are_sought(monkeypatch):
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", pytest.fail)
    with pytest.raises(ValueError, match=r"no \['layer1'\]; there are \['features'"):
        imagenet_network("efficientnet_b0", default_layers=("layer1",))


def test_imagenet_network_is_built_without_a_draw(tmp_path, efficientnet):
    save_weights(efficientnet, tmp_path / "weights.safetensors")
    before = torch.random.get_rng_state()
    imagenet_network("efficientnet_b0", tmp_path / "weights.safetensors")
    assert torch.equal(torch.random.get_rng_state(), before)
