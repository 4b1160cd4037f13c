"""What a YAML check needs to know of NORD-F's losses, torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from pydantic import Field

from study.declared import Parameter, unlike_parameters
from study.literals import Declaration, read_literals
from study.losses import reconstructions


class ReconstructionDeclaration(Declaration):
    """What a reconstruction loss's file declares; every key may be left out.

    Attributes:
        source: paper.
        called: its name in a sentence, where that is not the file's.
        least_image_size: height and width in pixels that it needs at least.
        perceptual: whether it takes the distance of the perceptual network.
        parameters: name -> default, bounds and meaning, as in a YAML. Losses may share one.
    """

    noun: ClassVar[str] = "reconstruction loss"
    defines: ClassVar[Mapping[str, str]] = {"Loss": "class Loss(ReconstructionLoss)"}

    source: str = ""
    called: str = ""
    least_image_size: int = Field(default=1, ge=1)
    perceptual: bool = False
    parameters: dict[str, Parameter] = Field(default={})


SHIPPED: Final = ("l1", "mse", "huber", "charbonnier", "ssim", "ms_ssim", "l1_ssim", "perceptual")
"""Losses in this order, whose parameters every resolved spec has; other files come after."""

RECONSTRUCTIONS: Final[Mapping[str, ReconstructionDeclaration]] = read_literals(
    reconstructions.__path__,
    "RECONSTRUCTION",
    ReconstructionDeclaration,
    first=SHIPPED,
    together=unlike_parameters,
)
"""Every reconstruction loss by name."""

COLLAPSED_COSINE: Final = 0.99
"""From this mean cosine of the upper features of different pairs on, they are called collapsed."""

SMALLEST_IMAGE: Final = {
    name: one.least_image_size for name, one in RECONSTRUCTIONS.items() if one.least_image_size > 1
}
"""Least height and width in pixels, of the losses that have one."""
