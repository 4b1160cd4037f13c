from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as theirs

from study.data.batches import DeviceImages, draw, padding, training_batches
from study.data.order import Sampling
from study.data.warp import draw_boxes, resized_crops, rotated
from tests.fake_data import image_set, noise

CPU = torch.device("cpu")


def _planes(image: torch.Tensor) -> torch.Tensor:
    return image.permute(2, 0, 1)


@pytest.mark.parametrize("size", [8, 28, 32, 33])
def test_resized_crops_are_those_of_torchvision(size: int) -> None:
    images = torch.from_numpy(noise(12, size=size))
    boxes = draw_boxes(12, size, 0.08, np.random.default_rng(0))
    made = resized_crops(images, torch.from_numpy(boxes))
    for image, box, ours in zip(images, boxes.tolist(), made, strict=True):
        expected = theirs.resized_crop(
            _planes(image), *box, [size, size], InterpolationMode.BILINEAR, antialias=True
        )
        assert (_planes(ours).int() - expected.int()).abs().max() <= 1  # the order of the sums


def test_rotations_are_those_of_torchvision() -> None:
    images = torch.from_numpy(noise(6))
    angles = [0.0, 10.0, -30.0, 45.0, 90.0, 179.0]
    made = rotated(images, torch.tensor(angles))
    for image, angle, ours in zip(images, angles, made, strict=True):
        assert torch.equal(_planes(ours), theirs.rotate(_planes(image), angle))


@pytest.mark.parametrize("least_area", [0.08, 0.7, 1.0])
def test_boxes_are_drawn_as_by_torchvision(least_area: int) -> None:
    """Means and spreads of 4,000 draws each lie within five standard errors of each other."""
    ours = draw_boxes(4000, 32, least_area, np.random.default_rng(0)).astype(float)
    torch.manual_seed(0)
    blank, ratio = torch.zeros(3, 32, 32), [3 / 4, 4 / 3]
    drawn = [RandomResizedCrop.get_params(blank, [least_area, 1.0], ratio) for _ in range(4000)]
    expected = np.array(drawn, dtype=float)
    for one, other in ((ours, expected), (ours**2, expected**2)):
        error = np.sqrt((one.var(0) + other.var(0)) / 4000)
        assert (np.abs(one.mean(0) - other.mean(0)) <= 5 * error).all()


def test_angles_are_uniform_between_the_two_ends() -> None:
    drawn = draw(np.arange(20_000), "none", np.random.default_rng(0), 32, rotation=30.0)
    assert drawn.angles is not None
    assert abs(drawn.angles.mean()) < 5 * 30 / np.sqrt(3 * 20_000)
    assert -30 <= drawn.angles.min() < -29.9 < 29.9 < drawn.angles.max() <= 30


def test_turned_crop_and_mirror_follow_in_this_order() -> None:
    images = image_set(10)
    draws = draw(np.arange(10), "resized_crop_flip", np.random.default_rng(3), 8, rotation=20.0)
    assert draws.boxes is not None
    assert draws.angles is not None
    expected = rotated(torch.from_numpy(images.pixels), torch.from_numpy(draws.angles))
    expected = resized_crops(expected, torch.from_numpy(draws.boxes))
    expected[draws.mirrored] = expected[draws.mirrored].flip(2)
    assert torch.equal(DeviceImages(images, CPU).gather(draws), expected)
    assert 0 < draws.mirrored.sum() < 10


def test_turned_images_are_padded_cropped_and_mirrored_as_others() -> None:
    images = image_set(10)
    draws = draw(np.arange(10), "crop_flip", np.random.default_rng(3), 8, rotation=20.0)
    turned = rotated(torch.from_numpy(images.pixels), torch.from_numpy(draws.angles))
    plain = draw(np.arange(10), "crop_flip", np.random.default_rng(3), 8)
    expected = DeviceImages(images.with_pixels(turned.numpy()), CPU).gather(plain)
    assert torch.equal(DeviceImages(images, CPU).gather(draws), expected)


def test_batches_of_an_epoch_take_the_warps_of_the_sampling() -> None:
    images = image_set(10)
    sampling = Sampling(10, augment="resized_crop_flip", rotation=20.0, least_area=0.7)
    first, again = (next(training_batches(images, sampling, seed=1, epoch=2)) for _ in range(2))
    plain = next(training_batches(images, Sampling(10), seed=1, epoch=2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, plain.labels)
    assert first.images.shape == plain.images.shape
    assert not torch.equal(first.images, plain.images)


@pytest.mark.parametrize(("size", "pad"), [(8, 4), (28, 4), (32, 4), (64, 8), (96, 12), (224, 28)])
def test_padding_grows_with_the_image(size: int, pad: int) -> None:
    assert padding(size) == pad
