"""Detectors on the logits alone, in float64: MSP, max logit, energy, GEN; and ODIN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.detectors.base import Detector
from study.detectors.catalog import check_sizes
from study.detectors.library import pytorch_ood
from study.detectors.model_parts import logits_of


class MaxSoftmax(Detector):
    """-max_k p_k at a temperature; the order of `study.scoring.scores.msp` at 1.

    But for ties: from a lead of some 36 nats on (times the temperature) p is 1 in float64 too.
    """

    def _score(self, model: nn.Module, images: Tensor) -> Tensor:
        scores: Tensor = pytorch_ood().MaxSoftmax.score(
            logits_of(model, images), t=self.params["temperature"]
        )
        return scores


class MaxLogit(Detector):
    """-max_k f_k; equal to `study.scoring.scores.max_logit`."""

    def _score(self, model: nn.Module, images: Tensor) -> Tensor:
        scores: Tensor = pytorch_ood().MaxLogit.score(logits_of(model, images))
        return scores


class EnergyBased(Detector):
    """-T logsumexp(f / T); equal to `study.scoring.scores.energy`."""

    def _score(self, model: nn.Module, images: Tensor) -> Tensor:
        scores: Tensor = pytorch_ood().EnergyBased.score(
            logits_of(model, images), t=self.params["temperature"]
        )
        return scores


class GEN(Detector):
    """Mean over the most probable classes of p^gamma (1 - p)^gamma.

    The mean where the paper takes the sum, the same order. By logarithms, and not by pytorch-ood
    0.4: it clamps p to [1e-7, 1 - 1e-7], which the paper does not, and from a lead of some 16 nats
    on every image then has the same score.
    """

    def _score(self, model: nn.Module, images: Tensor) -> Tensor:
        logits = logits_of(model, images)
        check_sizes(self.name, self.params, num_classes=logits.shape[1])
        ranked = logits.sort(dim=1, descending=True).values
        total = ranked.logsumexp(dim=1, keepdim=True)
        log_p = ranked - total
        # 1 - p of the most probable class is the mass of the others; log1p would lose it.
        others = ranked[:, 1:].logsumexp(dim=1, keepdim=True) - total
        log_rest = torch.cat([others, torch.log1p(-log_p[:, 1:].exp())], dim=1)
        terms: Tensor = (self.params["gamma"] * (log_p + log_rest)).exp()
        return terms[:, : self.params["top"]].mean(dim=1)


class ODIN(Detector):
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
