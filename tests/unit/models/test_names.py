import pytest

from study.models.names import (
    ANY_SIZE,
    BACKBONE_NAMES,
    MIN_IMAGE_SIZE,
    check_image_size,
    size_fault,
    stride_of,
)

STRIDES = {  # at 16, 32, 64, 96, 127, 128 and 224 pixels
    "resnet20": (4, 4, 4, 4, 4, 4, 4),
    "wrn_28_10": (4, 4, 4, 4, 4, 4, 4),
    "resnet50": (8, 8, 8, 8, 8, 8, 8),
    "convnextv2_atto": (8, 8, 8, 8, 8, 32, 32),
    "vgg16_bn": (8, 8, 8, 8, 8, 32, 32),
    "densenet121": (8, 8, 8, 8, 8, 32, 32),
    "vit_tiny": (4, 4, 8, 8, 8, 16, 16),
}


@pytest.mark.parametrize("name", STRIDES)
def test_stride_of_follows_the_stated_rule(name):
    sizes = (16, 32, 64, 96, 127, 128, 224)
    assert tuple(stride_of(name, size) for size in sizes) == STRIDES[name]


@pytest.mark.parametrize("name", BACKBONE_NAMES)
@pytest.mark.parametrize("image_size", [32, 64, 96, 128, 224])
def test_size_fault_common_sizes_have_none_and_maps_of_four_at_least(name, image_size):
    assert size_fault(name, image_size) == ""
    assert image_size // stride_of(name, image_size) >= 4


@pytest.mark.parametrize(
    ("name", "image_size", "match"),
    [
        ("convnext_tiny", 36, r"^image_size: 36 must be a multiple of 8, .* Take 32 or 40$"),
        ("densenet121", 225, r"^image_size: 225 must be a multiple of 32, .* Take 224 or 256$"),
        ("vit_tiny", 34, r"^image_size: 34 must be a multiple of 4, .* Take 32 or 36$"),
        ("vgg16_bn", 8, r"^image_size: 8 must be at least 16 pixels for vgg16_bn \(stride 8\)$"),
        ("resnet20", 4, r"^image_size: 4 must be at least 8 pixels"),
        ("resnet56", 30, r"^image_size: 30 must be a multiple of 4, .* Take 28 or 32$"),
    ],
)
def test_check_image_size_that_the_stride_does_not_divide_raises_with_the_way_out(
    name, image_size, match
):
    with pytest.raises(ValueError, match=match):
        check_image_size(name, image_size)


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_size_fault_without_maps_is_lenient_for_those_of_any_size(name):
    assert bool(size_fault(name, 33, maps=False)) == (name not in ANY_SIZE)
    assert size_fault(name, MIN_IMAGE_SIZE - 1, maps=False)


def test_stride_of_unknown_name_raises_with_those_there_are():
    with pytest.raises(ValueError, match=r"unknown backbone 'vgg'.*'vgg16_bn'"):
        stride_of("vgg")
