"""Detectors by name.

| ours                                 | pytorch-ood                        |
|--------------------------------------|------------------------------------|
| temperature                          | t; ODIN's temperature              |
| odin.epsilon                         | eps                                |
| gen.top                              | M                                  |
| vim.dimension                        | d                                  |
| react.quantile, ash/scale.pruned     | percentile, a fraction             |
| dice.sparsity                        | p                                  |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from study.detectors import from_features, from_logits
from study.detectors import from_features as shaping
from study.detectors.base import Detector
from study.detectors.catalog import CATALOG

DETECTORS: Final[dict[str, type[Detector]]] = {
    "msp": from_logits.MaxSoftmax,
    "max_logit": from_logits.MaxLogit,
    "energy": from_logits.EnergyBased,
    "gen": from_logits.GEN,
    "odin": from_logits.ODIN,
    "mahalanobis": from_features.Mahalanobis,
    "rmd": from_features.RMD,
    "knn": from_features.KNN,
    "vim": from_features.ViM,
    "react": from_features.ReAct,
    "dice": from_features.DICE,
    "she": from_features.SHE,
    "ash": shaping.ASH,
    "scale": shaping.SCALE,
}
"""Detector name -> class."""


def make_detector(name: str, params: Mapping[str, Any] | None = None) -> Detector:
    """A detector that is not fitted yet.

    Args:
        name: a key of `study.detectors.catalog.CATALOG`.
        params: those of its parameters that differ from the defaults.

    Raises:
        ValueError: as `study.detectors.catalog.check_parameters`.
    """
    if name not in DETECTORS:
        raise ValueError(f"unknown detector {name!r}; there are {sorted(CATALOG)}")
    return DETECTORS[name](name, params)
