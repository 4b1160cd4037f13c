"""How maps are made: what a command line can name without loading torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from study.records.files import RunFolder

Method = Literal["integrated_gradients", "smoothgrad", "saliency", "grad_cam"]
METHODS: tuple[Method, ...] = get_args(Method)
Reference = Literal["grey", "blur"]
CHECKS = ("deletion", "randomisation", "agreement")


@dataclass(frozen=True)
class MapOptions:
    """How maps are made.

    Attributes:
        method: "integrated_gradients" (Sundararajan et al. 2017, arXiv:1703.01365), "smoothgrad"
            (Smilkov et al. 2017, arXiv:1706.03825), "saliency" (the gradient's size; Simonyan et
            al. 2014, arXiv:1312.6034) or "grad_cam" (Selvaraju et al. 2017, arXiv:1610.02391, on
            the backbone's last maps; their sign is kept).
        steps: points of integrated gradients, Gauss-Legendre.
        baseline: where integrated gradients starts.
        samples: noisy copies of SmoothGrad.
        noise: standard deviation of their noise; images lie in [0, 1].
        seed: of the noise; every image gets the same draws.
    """

    method: Method = "integrated_gradients"
    steps: int = 32
    baseline: Reference = "grey"
    samples: int = 16
    noise: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class Request:
    """What is asked for of one trial.

    Attributes:
        run: the run's folder.
        trial: id, "winner" or "base".
        out: folder for pictures and numbers.
        method: of the maps.
        images: of each set.
        seed: of choices and draws.
        checks: of ``CHECKS``.
    """

    run: RunFolder
    trial: str
    out: Path
    method: Method
    images: int
    seed: int
    checks: tuple[str, ...]
