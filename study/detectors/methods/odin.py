"""ODIN: temperature, and a step of the pixels."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from study.detectors.base import Detector, pytorch_ood
from study.detectors.model_parts import logits_of

DETECTOR: Final = {
    "requires": ["pytorch_ood"],
    "needs": ["logits", "input_gradient"],
    "source": "Liang et al. 2018, arXiv:1706.02690",
    "parameters": {
        "temperature": {
            "default": 1000.0,
            "gt": 0,
            "meaning": "divides the logits, dimensionless",
        },
        "epsilon": {
            "default": 0.0014,
            "ge": 0,
            "le": 1,
            "meaning": "step on each pixel, in images of [0, 1]",
        },
    },
}


class Method(Detector):
    """-max_k p_k at a temperature, after a step of the pixels towards the predicted class.

    The step is on images in [0, 1], before the model's own normalisation; what pytorch-ood's
    ``norm_std`` is for is so done. The step and the forwards are in the model's precision, the
    softmax at the high temperature in float64: in float32 its values lie too close together.
    """

    def _score(self, model: nn.Module, images: Tensor) -> Tensor:
        library = pytorch_ood()
        # Inference mode would forbid the gradient; a tensor made in it has to be copied.
        with torch.inference_mode(False):
            moved = library.odin_preprocessing(
                model,
                images.clone(),
                eps=self.params["epsilon"],
                temperature=self.params["temperature"],
            )
        scores: Tensor = library.MaxSoftmax.score(
            logits_of(model, moved), t=self.params["temperature"]
        )
        return scores
