"""Saliency panels of a trial as it trains: pictures in the run's folder, for TensorBoard."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from study.data.roles import StudyData
from study.records.files import write_bytes

_IMAGES = 4  # of each set; the same in every trial and epoch
_SEED = 0


@runtime_checkable
class NamesPanels(Protocol):
    """Parameters that name the epochs (from 1) after which a panel is drawn."""

    panel_epochs: list[int]


def keep_panel(
    path: Path,
    model: nn.Module,
    data: StudyData,
    loss: Mapping[str, Tensor],
    device: torch.device,
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
    png = io.BytesIO()
    Image.fromarray(picture).save(png, "PNG")
    write_bytes(path, png.getvalue())
