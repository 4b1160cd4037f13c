import torch
from torch import nn
from torch.nn import functional
from torchvision import models

from study.models.densenet import DenseNet121


def test_keys_are_torchvision_s_and_only_the_small_stem_has_another_shape():
    with torch.device("meta"):
        theirs = models.densenet121(weights=None).state_dict()
        small, native = DenseNet121(8).state_dict(), DenseNet121(32).state_dict()
    features = [key for key in theirs if key.startswith("features.")]
    assert list(small) == list(native) == features
    assert all(native[key].shape == theirs[key].shape for key in native)
    changed = {key for key in small if small[key].shape != theirs[key].shape}
    assert changed == {"features.conv0.weight"}


def test_forward_equals_torchvision_with_the_stem_replaced():
    network = DenseNet121(8).eval()
    reference = models.densenet121(weights=None, num_classes=1).eval()
    reference.features.conv0 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    reference.features.pool0 = nn.Identity()
    reference.features.load_state_dict(network.features.state_dict())
    images = torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        expected = functional.relu(reference.features(images))
        assert torch.equal(network.maps(images), expected)
