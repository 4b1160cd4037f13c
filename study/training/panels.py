"""Saliency panels of a trial as it trains: pictures in the run's folder, for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from study.data.roles import StudyData
from study.records.files import replacing

_IMAGES = 4  # of each set; the same in every trial and epoch
_SEED = 0
_LEAST_PIXELS = 64  # of an image's side in a picture: smaller ones are enlarged


@runtime_checkable
class NamesPanels(Protocol):
    """Parameters that name the epochs (from 1) after which a panel is drawn."""

    panel_epochs: list[int]


def keep_panel(
    path: Path, model: nn.Module, data: StudyData, loss: Mapping[str, Tensor], device: torch.device
) -> None:
    """Draw a few validation images with the model's maps of them, as a PNG.

    Args:
        path: of the file.
        model: on ``device``, left as it was.
        data: the roles that training may see.
        loss: state of the loss, which holds the similarity's scale and offset.
        device: where to compute.
    """
    # captum and matplotlib: for the trials that draw, not for every one
    from PIL import Image

    from study.explain.choice import choose_images
    from study.explain.rows import panel_image
    from study.explain.targets import PairLogit

    sets = choose_images(data.val_id.images, data.ood_val.sets, _IMAGES, _SEED)
    picture = panel_image(model, list(sets.values()), device, pair=PairLogit.of_state(loss))
    with replacing(path) as file:
        Image.fromarray(picture).save(file, "PNG")


def keep_reconstructions(
    path: Path, model: nn.Module, data: StudyData, device: torch.device
) -> None:
    """Put a few validation images above what a model makes of them, as a PNG.

    Nothing where the model reconstructs nothing.

    Args:
        path: of the file.
        model: on ``device``, left as it was.
        data: the roles that training may see; images of the ID set come first.
        device: where to compute.
    """
    from PIL import Image

    from study.explain.choice import choose_images
    from study.explain.explanation import as_images, reconstructed

    sets = choose_images(data.val_id.images, data.ood_val.sets, _IMAGES, _SEED)
    pixels = np.concatenate([one.images.pixels for one in sets.values()])
    made = reconstructed(model, as_images(pixels, device))
    if made is None:
        return
    rows = [np.concatenate(list(row), axis=1) for row in (pixels / 255.0, made)]
    grid = (np.concatenate(rows) * 255).round().clip(0, 255).astype(np.uint8)
    enlarged = max(1, _LEAST_PIXELS // pixels.shape[1])
    grid = grid.repeat(enlarged, axis=0).repeat(enlarged, axis=1)
    with replacing(path) as file:
        Image.fromarray(grid).save(file, "PNG")
