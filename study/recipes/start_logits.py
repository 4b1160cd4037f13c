"""What a loss against outliers may measure of the model that training starts from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from study.data.batches import evaluation_batches
from study.data.images import ImageSet
from study.data.roles import StudyData
from study.seeding import numpy_generator

_MEASURED = 2_000  # images of a set, at most, that a loss is fitted to at the start


def outlier_images(data: StudyData) -> ImageSet:
    """The auxiliary outliers (TypeError, where there are none)."""
    if data.outliers is None:
        raise TypeError("fine-tuning against outliers needs outliers")
    return data.outliers.images


@torch.no_grad()
def start_logits(model: nn.Module, images: ImageSet, device: torch.device) -> Tensor:
    """Logits of up to 2,000 images of a set, (N, K), in evaluation mode."""
    if len(images) > _MEASURED:
        chosen = numpy_generator(0, "measured for the loss").permutation(len(images))
        images = images.take(np.sort(chosen[:_MEASURED]))
    model.eval()
    batches = evaluation_batches(images, 512, device, channels_last=True)
    return torch.cat([model(batch) for batch in batches])
