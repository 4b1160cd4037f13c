"""Names of the backbones, torch-free so that a YAML can be checked without loading torch."""

from __future__ import annotations

BACKBONES: tuple[str, ...] = (
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "wrn_40_2",
    "wrn_16_2",
    "wrn_16_4",
    "wrn_28_10",
    "resnet18",
    "resnet50",
)
"""Every backbone."""

WITHOUT_DROPOUT: tuple[str, ...] = ("resnet18", "resnet50")
"""Those that have no place for dropout; a rate above 0 would go unused."""
