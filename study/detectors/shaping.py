"""ASH and SCALE: the energy after an image's own activations were pruned or scaled."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from study.detectors.base import Detector
from study.detectors.catalog import check_sizes
from study.detectors.library import pytorch_ood
from study.detectors.model_parts import Head, features_of, head_of, maps_of


class Shaping(Detector):
    """Shape the pooled features, as OpenOOD does, or the maps before the pooling (``layer``)."""

    def _score(self, model: nn.Module, images: Tensor) -> Tensor:
        head = head_of(model)
        check_sizes(self.name, self.params, num_features=head.weight.shape[1])
        if self.params["layer"] == "maps":
            activations = maps_of(model, images)
        else:
            activations = features_of(model, images).double()[:, :, None, None]
        size = activations[0].numel() if len(activations) else 1
        if size - round(size * self.params["pruned"]) < 1:
            raise ValueError(
                f"{self.name}.pruned: {self.params['pruned']:g} leaves none of {size} activations"
            )
        scores: Tensor = self._shaper(head).predict_feature_maps(activations)
        return scores

    def _shaper(self, head: Head) -> Any:
        raise NotImplementedError


class ASH(Shaping):
    """Prune the smaller activations; scale (s), keep (p) or level (b) the others."""

    def _shaper(self, head: Head) -> Any:
        return pytorch_ood().ASH(
            None, head, variant=f"ash-{self.params['variant']}", percentile=self.params["pruned"]
        )


class SCALE(Shaping):
    """Scale all activations by exp(sum of all / sum of the larger ones)."""

    def _shaper(self, head: Head) -> Any:
        return pytorch_ood().SCALE(None, head, percentile=self.params["pruned"])
