import torch
from torch import nn
from torchvision import models

from study.models.vgg import Vgg16


def pools(network):
    return [i for i, part in enumerate(network.features) if isinstance(part, nn.MaxPool2d)]


def test_keys_and_shapes_are_torchvision_s_without_the_linear_layers():
    with torch.device("meta"):
        theirs = models.vgg16_bn(weights=None).state_dict()
        for stride in (8, 32):
            ours = Vgg16(stride).state_dict()
            assert set(ours) == {key for key in theirs if key.startswith("features.")}
            assert all(ours[key].shape == theirs[key].shape for key in ours)


def test_small_stride_leaves_out_the_last_two_poolings():
    with torch.device("meta"):
        assert pools(Vgg16(32)) == [6, 13, 23, 33, 43]
        assert pools(Vgg16(8)) == [6, 13, 23]
