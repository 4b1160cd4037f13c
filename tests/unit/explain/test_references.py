from __future__ import annotations

import pytest
import torch

from study.explain.references import reference_images
from tests.explain_toys import toy_batch


def test_grey_is_the_same_for_every_image() -> None:
    assert torch.equal(reference_images(toy_batch(), "grey"), torch.full((4, 3, 8, 8), 0.5))


def test_blur_keeps_a_flat_image_and_takes_detail_from_others() -> None:
    flat = torch.full((1, 3, 8, 8), 0.3)
    torch.testing.assert_close(reference_images(flat, "blur"), flat)
    images = toy_batch()
    blurred = reference_images(images, "blur")
    assert blurred.shape == images.shape
    assert blurred.var() < 0.5 * images.var()
    assert float(blurred.mean()) == pytest.approx(float(images.mean()), abs=0.05)


def test_blur_does_not_mix_channels_or_images() -> None:
    images = torch.zeros(2, 3, 8, 8)
    images[0, 1] = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    blurred = reference_images(images, "blur")
    assert blurred[0, 1].max() > 0.1
    assert blurred[0, [0, 2]].abs().max() == 0
    assert blurred[1].abs().max() == 0
