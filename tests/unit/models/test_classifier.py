import pytest
import torch
from torch import nn

from study.models.classifier import MEAN, STD, Classifier
from study.models.names import Network
from study.models.registry import build_classifier


class Means(nn.Module):
    num_features = 3

    def forward(self, x):
        return x.mean(dim=(2, 3))


def test_features_are_of_normalised_images():
    model, images = Classifier(Means(), 2), torch.rand(4, 3, 5, 5)
    expected = (images.mean(dim=(2, 3)) - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(model.features(images), expected, rtol=1e-5, atol=1e-6)


def test_forward_is_head_of_features():
    model, images = Classifier(Means(), 2), torch.rand(4, 3, 5, 5)
    assert torch.equal(model(images), model.fc(model.features(images)))


def test_normalisation_is_saved_but_not_trained():
    model = Classifier(Means(), 2, mean=(0.1, 0.2, 0.3))
    assert {"mean", "std"} <= set(model.state_dict())
    assert {name for name, _ in model.named_parameters()} == {"fc.weight", "fc.bias"}
    assert model.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_normalisation_keeps_channels_last_and_passes_gradients():
    layouts = []

    class Layout(Means):
        def forward(self, x):
            layouts.append(x.is_contiguous(memory_format=torch.channels_last))
            return super().forward(x)

    images = torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    Classifier(Layout(), 2)(images).sum().backward()
    assert layouts == [True]
    assert images.grad.abs().sum() > 0


def test_classifier_that_enlarges_sees_the_enlarged_image_and_is_told_apart() -> None:
    network = Network(image_size=16)
    enlarging = build_classifier("resnet20", 3, image_size=8, seed=1, network=network).eval()
    plain = build_classifier("resnet20", 3, image_size=16, seed=1).eval()
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(images, 16, mode="bilinear")
    assert torch.equal(enlarging(images), plain(large))
    assert not torch.equal(enlarging(images), plain(images))
    assert repr(enlarging) != repr(plain)  # features are cached by it
