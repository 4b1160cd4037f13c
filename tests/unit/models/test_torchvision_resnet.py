import torch
from torch import nn
from torchvision import models

from study.models.torchvision_resnet import SmallImageResNet


def test_stem_keeps_the_resolution_and_total_stride_is_eight():
    with torch.device("meta"):
        network = SmallImageResNet("resnet18")
        shapes = {}
        for name in ("conv1", "maxpool", "layer4"):
            network.get_submodule(name).register_forward_hook(
                lambda _, __, out, name=name: shapes.update({name: tuple(out.shape[2:])})
            )
        network(torch.rand(1, 3, 32, 32))
    assert shapes == {"conv1": (32, 32), "maxpool": (32, 32), "layer4": (4, 4)}


def test_keys_are_torchvision_s_without_the_head():
    with torch.device("meta"):
        ours = SmallImageResNet("resnet18").state_dict()
        theirs = models.resnet18(weights=None).state_dict()
    assert set(ours) == set(theirs) - {"fc.weight", "fc.bias"}
    assert {key for key in ours if ours[key].shape != theirs[key].shape} == {"conv1.weight"}


def test_forward_equals_torchvision_with_the_stem_replaced():
    network = SmallImageResNet("resnet18").eval()
    reference = models.resnet18(weights=None)
    reference.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    reference.maxpool = reference.fc = nn.Identity()
    reference.load_state_dict(network.state_dict())
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(network(images), reference.eval()(images))
