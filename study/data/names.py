"""Names of the data sets that a YAML may use, torch-free; ``sources`` holds their readers."""

from __future__ import annotations

AUTO = "auto"

ID_SETS: tuple[str, ...] = ("cifar10", "demo")
"""In-distribution sets known by name."""

EXTERNAL_SETS: tuple[str, ...] = (
    "random_images_300k",
    "svhn",
    "dtd",
    "cifar100",
    "places365",
    "lsun",
    "isun",
)
"""Public sets in their usual files; outliers, OOD validation or OOD test."""

SYNTHETIC_SETS: tuple[str, ...] = (
    "uniform",
    "gaussian",
    "rademacher",
    "blob",
    "arithmetic_mean",
    "geometric_mean",
    "jigsaw",
    "speckle",
    "pixelate",
    "rgb_ghost",
    "invert",
)
"""Outlier Exposure's validation sets: made from validation ID images, so OOD validation only."""

KNOWN_SETS: tuple[str, ...] = (*ID_SETS, *EXTERNAL_SETS, *SYNTHETIC_SETS)
"""Every name."""
