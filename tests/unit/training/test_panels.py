"""study.training.panels: pictures of a trial as it trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from study.training.panels import keep_reconstructions
from tests.explain_toys import ToyNordF
from tests.toys import toy_data

CPU = torch.device("cpu")


def test_reconstructions_stand_under_their_images_enlarged(tmp_path: Path) -> None:
    path, data = tmp_path / "panels" / "picture.png", toy_data()
    keep_reconstructions(path, ToyNordF(), data, CPU)
    with Image.open(path) as image:
        drawn = np.asarray(image.convert("RGB"), np.float64)
    height, width = drawn.shape[0] // 2, drawn.shape[1]
    assert height >= 64
    assert width == 8 * height  # four images of the ID set, four of the OOD set
    # The toy reconstructs half of each pixel.
    np.testing.assert_allclose(drawn[height:], drawn[:height] / 2, atol=1)
    assert drawn[:height].std() > 0


@pytest.mark.parametrize("training", [True, False])
def test_reconstructions_leave_the_model_as_it_was(tmp_path: Path, training: bool) -> None:
    model = ToyNordF().train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    keep_reconstructions(tmp_path / "picture.png", model, toy_data(), CPU)
    assert model.training is training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_model_that_reconstructs_nothing_leaves_no_picture(tmp_path: Path) -> None:
    keep_reconstructions(tmp_path / "picture.png", torch.nn.Linear(2, 2), toy_data(), CPU)
    assert list(tmp_path.iterdir()) == []
