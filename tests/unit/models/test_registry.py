import subprocess
import sys

import pytest
import torch
from torch import nn

from study.models import names
from study.models.registry import build_backbone, build_classifier, source_file

# With a head of ten classes, as public implementations of each network count them.
NUM_PARAMETERS = {
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "wrn_16_2": 691_674,
    "wrn_16_4": 2_748_890,
    "wrn_40_2": 2_243_546,
    "wrn_28_10": 36_479_194,
    "resnet18": 11_173_962,
    "resnet50": 23_520_842,
}
# As their libraries publish them, native and with a head of a thousand classes (VGG: without the
# 123,642,856 numbers of its three linear layers).
NATIVE_PARAMETERS = {
    "convnextv2_atto": 3_708_400,
    "convnextv2_femto": 5_233_240,
    "convnextv2_pico": 9_066_280,
    "convnextv2_nano": 15_623_800,
    "convnext_tiny": 28_589_128,
    "vgg16_bn": 138_365_992 - 123_642_856 + 513_000,
    "densenet121": 7_978_856,
    "vit_tiny": 5_717_416,
}
NUM_FEATURES = {
    "wrn_16_2": 128,
    "wrn_16_4": 256,
    "wrn_40_2": 128,
    "wrn_28_10": 640,
    "resnet18": 512,
    "resnet50": 2048,
    "convnextv2_atto": 320,
    "convnextv2_femto": 384,
    "convnextv2_pico": 512,
    "convnextv2_nano": 640,
    "convnext_tiny": 768,
    "vgg16_bn": 512,
    "densenet121": 1024,
    "vit_tiny": 192,
}


def test_backbone_names_are_all_those_promised():
    assert set(names.BACKBONE_NAMES) == set(NUM_PARAMETERS) | set(NATIVE_PARAMETERS)


def test_names_with_imagenet_weights_are_all_those_promised():
    assert set(names.PRETRAINED) == {"resnet18", "resnet50", *NATIVE_PARAMETERS}


@pytest.mark.parametrize("name", NUM_PARAMETERS)
def test_backbone_has_published_size(name):
    with torch.device("meta"):
        model = build_classifier(name, 10, seed=0)
    assert sum(p.numel() for p in model.parameters()) == NUM_PARAMETERS[name]
    assert model.num_features == NUM_FEATURES.get(name, 64)


@pytest.mark.parametrize("name", NATIVE_PARAMETERS)
def test_backbone_for_large_images_has_its_library_s_size(name):
    with torch.device("meta"):
        model = build_classifier(name, 1000, image_size=224, seed=0)
    assert sum(p.numel() for p in model.parameters()) == NATIVE_PARAMETERS[name]
    assert model.num_features == NUM_FEATURES[name]


@pytest.mark.parametrize("name", names.ANY_SIZE)
@pytest.mark.parametrize("image_size", [32, 17])
def test_backbone_gives_logits_and_features_for_any_image_size(name, image_size):
    with torch.device("meta"):
        model = build_classifier(name, 7, image_size=image_size, seed=0)
        images = torch.rand(2, 3, image_size, image_size)
        assert model(images).shape == (2, 7)
        assert model.features(images).shape == (2, model.num_features)


@pytest.mark.parametrize("name", ["resnet20", "wrn_16_2", "resnet18"])
def test_build_classifier_is_a_function_of_seed_and_leaves_global_generator(name):
    before = torch.random.get_rng_state()
    one, same, other = (build_classifier(name, 10, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    for key, tensor in one.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[key])
    assert not torch.equal(one.fc.weight, other.fc.weight)
    convolutions = [
        [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)] for model in (one, other)
    ]
    assert not any(torch.equal(a, b) for a, b in zip(*convolutions, strict=True))


def test_build_classifier_initial_weights_do_not_depend_on_dropout():
    plain, dropped = (
        build_classifier("resnet20", 10, dropout=rate, seed=1).state_dict() for rate in (0.0, 0.3)
    )
    assert all(torch.equal(plain[key], dropped[key]) for key in plain)


def test_build_classifier_unknown_name_raises_with_those_there_are():
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet21'.*'resnet20'.*'wrn_40_2'"):
        build_classifier("resnet21", 10, seed=0)
    with pytest.raises(ValueError, match="unknown backbone"):
        source_file("resnet21")


def test_build_classifier_dropout_where_there_is_none_raises():
    with pytest.raises(ValueError, match=r"resnet18 has none; these have:.*wrn_40_2"):
        build_classifier("resnet18", 10, dropout=0.3, seed=0)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"dropout": 1.0}, "dropout: 1.0"),
        ({"dropout": -0.1}, "dropout: -0.1"),
        ({"image_size": 4}, "image_size: 4"),
        ({"num_classes": 1}, "num_classes: 1"),
        ({"backbone": "vgg16_bn", "image_size": 36}, "image_size: 36 must be a multiple of 8"),
    ],
)
def test_build_classifier_argument_outside_range_raises(changes, match):
    arguments = {"backbone": "resnet20", "num_classes": 10, "seed": 0} | changes
    with pytest.raises(ValueError, match=match):
        build_classifier(**arguments)


def test_build_backbone_has_the_weights_of_the_classifier_s():
    backbone = build_backbone("resnet20", dropout=0.1, image_size=32, seed=4)
    within = build_classifier("resnet20", 10, dropout=0.1, seed=4).backbone
    assert list(backbone.state_dict()) == list(within.state_dict())
    for key, tensor in within.state_dict().items():
        assert torch.equal(backbone.state_dict()[key], tensor)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": "resnet21"}, "unknown backbone 'resnet21'"),
        ({"name": "convnextv2_atto", "dropout": 0.1}, "convnextv2_atto has none"),
        ({"image_size": 30}, "image_size: 30 must be a multiple of 4, the stride of resnet20"),
        ({"name": "resnet18", "image_size": 8}, "image_size: 8 must be at least 16 pixels"),
    ],
)
def test_build_backbone_argument_outside_range_raises(changes, match):
    arguments = {"name": "resnet20", "seed": 0} | changes
    with pytest.raises(ValueError, match=match):
        build_backbone(**arguments)


def test_registry_import_brings_no_torch():
    code = "import sys, study.models.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_build_classifier_of_a_cifar_resnet_brings_neither_timm_nor_torchvision():
    code = (
        "import sys\n"
        "from study.models.registry import build_classifier\n"
        "build_classifier('resnet20', 10, seed=0)\n"
        "sys.exit(bool({'timm', 'torchvision'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
