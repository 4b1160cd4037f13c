"""What ASH and SCALE share: activations are shaped, and the head's energy is the score."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from study.detectors.base import Detector
from study.detectors.catalog import check_sizes
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
