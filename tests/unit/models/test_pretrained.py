"""Loading of files in the libraries' layouts, written here from fresh full-size networks."""

from functools import cache

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional
from torchvision import models

from study.models.names import PRETRAINED, declaration
from study.models.pretrained import DoesNotFit, Reinitialised, load_pretrained
from study.models.registry import build_backbone, build_classifier

TORCHVISION_S = ("resnet18", "resnet50", "vgg16_bn", "densenet121")


@cache
def native(name):
    """A library's network at its native size, with norms that are not all ones and zeros."""
    generator = torch.Generator().manual_seed(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = (models.get_model if name in TORCHVISION_S else timm.create_model)(name).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.rand(parameter.shape, generator=generator))
    return network


def written(folder, name, changes=None):
    weights = {**native(name).state_dict(), **(changes or {})}
    path = folder / f"{name}.safetensors"
    save_file({key: tensor for key, tensor in weights.items() if tensor is not None}, path)
    return path


def images(size=32):
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(5))


def enlarged(batch):
    return batch.repeat_interleave(4, 2).repeat_interleave(4, 3)


def snapshot(module):
    return {key: tensor.clone() for key, tensor in module.state_dict().items()}


def test_convnext_at_32_pixels_computes_the_native_maps_of_the_enlarged_image(tmp_path):
    network = build_backbone("convnextv2_atto", seed=0).eval()
    told = load_pretrained("convnextv2_atto", network, written(tmp_path, "convnextv2_atto"))
    assert told == Reinitialised(
        tensors=(), fitted=("stem.0.weight",), unused=("head.fc.bias", "head.fc.weight")
    )
    reference = native("convnextv2_atto")
    with torch.inference_mode():
        maps = reference.forward_features(enlarged(images()))
        normed = functional.layer_norm(
            maps.permute(0, 2, 3, 1),
            maps.shape[1:2],
            reference.head.norm.weight,
            reference.head.norm.bias,
            eps=1e-6,
        ).permute(0, 3, 1, 2)
        torch.testing.assert_close(network.maps(images()), normed, rtol=1e-3, atol=1e-4)


def test_convnext_at_its_native_size_takes_every_tensor_as_it_stands(tmp_path):
    network = build_backbone("convnextv2_atto", image_size=224, seed=0)
    told = load_pretrained("convnextv2_atto", network, written(tmp_path, "convnextv2_atto"))
    assert (told.tensors, told.fitted) == ((), ())
    theirs = native("convnextv2_atto").state_dict()
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, theirs[key.replace("norm_pre.", "head.norm.")])


def test_convnext_only_pre_trained_keeps_its_fresh_last_norm(tmp_path):
    network = build_backbone("convnextv2_atto", seed=0)
    heads = ["head.norm.weight", "head.norm.bias", "head.fc.weight", "head.fc.bias"]
    path = written(tmp_path, "convnextv2_atto", dict.fromkeys(heads))
    told = load_pretrained("convnextv2_atto", network, path)
    assert told.tensors == ("norm_pre.weight", "norm_pre.bias")
    assert torch.equal(network.norm_pre.weight, torch.ones(320))


def test_vit_at_32_pixels_computes_the_native_tokens_of_the_enlarged_image(tmp_path):
    network = build_backbone("vit_tiny", seed=0).eval()
    told = load_pretrained("vit_tiny", network, written(tmp_path, "deit_tiny_patch16_224"))
    assert told == Reinitialised(
        fitted=("pos_embed", "patch_embed.proj.weight"), unused=("head.bias", "head.weight")
    )
    # timm's own resizing, for an image of 128 pixels in patches of 16.
    reference = timm.create_model("deit_tiny_patch16_224", img_size=128).eval()
    theirs = native("deit_tiny_patch16_224").state_dict()
    theirs["pos_embed"] = timm.layers.resample_abs_pos_embed(theirs["pos_embed"], [8, 8])
    reference.load_state_dict(theirs)
    with torch.inference_mode():
        tokens = reference.forward_features(enlarged(images()))[:, 1:]
        maps = network.maps(images()).flatten(2).transpose(1, 2)
    torch.testing.assert_close(maps, tokens, rtol=1e-3, atol=1e-4)


def old_densenet_name(key):
    """As in the public file of 2017, whose modules had a point in their names."""
    for part in ("norm", "conv"):
        for number in "12":
            key = key.replace(f".{part}{number}.", f".{part}.{number}.")
    return key


def test_densenet_in_the_layout_of_the_public_file_goes_in_but_for_the_stem(tmp_path):
    theirs = native("densenet121").state_dict()
    public = {
        old_densenet_name(key): tensor
        for key, tensor in theirs.items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in public
    torch.save(public, tmp_path / "densenet121.pth")
    model = build_classifier("densenet121", 10, seed=0)
    fresh = snapshot(model)
    told = load_pretrained("densenet121", model, tmp_path / "densenet121.pth")
    assert told == Reinitialised(
        tensors=("features.conv0.weight",), unused=("classifier.weight", "classifier.bias")
    )
    for key, tensor in model.backbone.state_dict().items():
        kept = key == "features.conv0.weight"
        expected = fresh[f"backbone.{key}"] if kept else theirs[key]
        assert torch.equal(tensor, expected), key
    assert torch.equal(model.fc.weight, fresh["fc.weight"])


def test_resnet_goes_in_channels_last_but_for_the_stem(tmp_path):
    model = build_classifier("resnet18", 10, seed=0).to(memory_format=torch.channels_last)
    stem = model.backbone.conv1.weight.clone()
    told = load_pretrained("resnet18", model, written(tmp_path, "resnet18"))
    assert told == Reinitialised(tensors=("conv1.weight",), unused=("fc.bias", "fc.weight"))
    assert torch.equal(model.backbone.conv1.weight, stem)
    weight = model.backbone.layer3[0].conv1.weight
    assert torch.equal(weight, native("resnet18").layer3[0].conv1.weight)
    assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.slow
def test_vgg_in_timm_s_layout_goes_in(tmp_path):
    theirs = timm.create_model("vgg16_bn").state_dict()
    torch.save(theirs, tmp_path / "w.pth")
    network = build_backbone("vgg16_bn", seed=0)
    told = load_pretrained("vgg16_bn", network, tmp_path / "w.pth")
    assert told.tensors + told.fitted == ()
    assert set(told.unused) == set(theirs) - set(network.state_dict())
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in network.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16_bn", "resnet50", "convnext_tiny", "convnextv2_nano"])
@pytest.mark.parametrize("image_size", [32, 224])
def test_large_network_goes_in_from_its_full_size_file(name, image_size, tmp_path):
    torch.save(native(name).state_dict(), tmp_path / "w.pth")
    network = build_backbone(name, image_size=image_size, seed=0)
    told = load_pretrained(name, network, tmp_path / "w.pth")
    resnet, patches = name == "resnet50", name.startswith("convnext") and image_size == 32
    assert told.tensors == (("conv1.weight",) if resnet else ())
    assert told.fitted == (("stem.0.weight",) if patches else ())
    theirs = native(name).state_dict()
    for key, tensor in network.state_dict().items():
        if key not in told.tensors + told.fitted:
            assert torch.equal(tensor, theirs[key.replace("norm_pre.", "head.norm.")]), key


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"stages.0.blocks.0.norm.bias": None, "stages.3.blocks.1.mlp.fc1.weight": None},
            r"missing stages\.0\.blocks\.0\.norm\.bias, stages\.3\.blocks\.1\.mlp\.fc1\.weight\. ",
        ),
        ({"stages.4.extra": torch.zeros(1)}, r"not in the model stages\.4\.extra\. Give a file"),
        (
            {"stages.0.blocks.0.norm.bias": torch.zeros(7)},
            r"of another shape stages\.0\.blocks\.0\.norm\.bias \(7, the model has 40\)",
        ),
        (
            {"stem.0.weight": torch.zeros(41, 3, 4, 4)},
            r"stem\.0\.weight \(41x3x4x4, the model has 40x3x1x1\)",
        ),
    ],
)
def test_file_that_does_not_fit_raises_naming_tensors_and_changes_nothing(
    changes, match, tmp_path
):
    network = build_backbone("convnextv2_atto", seed=0)
    before = snapshot(network)
    path = written(tmp_path, "convnextv2_atto", changes)
    with pytest.raises(DoesNotFit, match=match):
        load_pretrained("convnextv2_atto", network, path)
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())


def test_deeper_network_of_the_same_widths_is_refused(tmp_path):
    with torch.random.fork_rng(devices=[]):
        deeper = models.resnet34(weights=None).state_dict()
    save_file(deeper, tmp_path / "w.safetensors")
    network = build_backbone("resnet18", seed=0)
    with pytest.raises(DoesNotFit, match=r"not in the model layer1\.2\.bn1.* and \d+ more"):
        load_pretrained("resnet18", network, tmp_path / "w.safetensors")


def test_vit_with_positions_that_are_no_square_is_refused(tmp_path):
    path = written(tmp_path, "deit_tiny_patch16_224", {"pos_embed": torch.zeros(1, 180, 192)})
    network = build_backbone("vit_tiny", seed=0)
    with pytest.raises(DoesNotFit, match=r"pos_embed \(1x180x192, the model has 1x65x192\)"):
        load_pretrained("vit_tiny", network, path)


def test_backbone_without_imagenet_weights_is_refused():
    with pytest.raises(ValueError, match="resnet20 has no ImageNet weights"):
        load_pretrained("resnet20", build_backbone("resnet20", seed=0), None)


def test_weights_that_cannot_be_fetched_raise_with_the_way_out(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route to host\nmore")

    networks = {name: build_backbone(name, seed=0) for name in ("convnextv2_atto", "densenet121")}
    monkeypatch.setattr(timm, "create_model", offline)
    monkeypatch.setattr(models, "get_weight", offline)
    for name, network in networks.items():
        with pytest.raises(ValueError, match=r"cannot be fetched \(OSError: no route .* give"):
            load_pretrained(name, network, None)


def test_weights_that_the_library_fetches_go_in_like_a_file_s(monkeypatch):
    asked = []

    def fetched(name, *, pretrained):
        asked.append((name, pretrained))
        return native("convnextv2_atto")

    network = build_backbone("convnextv2_atto", seed=0)
    monkeypatch.setattr(timm, "create_model", fetched)
    told = load_pretrained("convnextv2_atto", network, None)
    assert asked == [("convnextv2_atto.fcmae_ft_in1k", True)]
    assert told.fitted == ("stem.0.weight",)
    weight = native("convnextv2_atto").state_dict()["stages.3.blocks.1.conv_dw.weight"]
    assert torch.equal(network.state_dict()["stages.3.blocks.1.conv_dw.weight"], weight)


def test_names_of_imagenet_weights_exist_in_their_libraries():
    for name in PRETRAINED:
        library, _, weights = declaration(name).pretrained.partition("/")
        if library == "timm":
            assert timm.get_pretrained_cfg(weights).has_weights
        else:
            assert models.get_weight(weights).url
