"""pytorch-ood's detectors, imported when one is first used.

The import takes 2 to 4 s and some 230 MB beside torch (pytorch-ood 0.4, two cores; most of it is
torchvision and scipy.stats), so no module of the study does it at its own import.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def pytorch_ood() -> Any:
    """The module ``pytorch_ood.detector``.

    Raises:
        ModuleNotFoundError: saying how to install it, where it is not there.
    """
    try:
        return import_module("pytorch_ood.detector")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"post-hoc detectors need pytorch-ood, and {error.name} is not installed: "
            "pip install 'pytorch-ood>=0.4'",
            name=error.name,
        ) from error
