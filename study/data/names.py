"""Names of the data sets that need no files, and of known ID sets, without what makes them.

Public sets are named by their formats: `study.data.file_formats.public_sets`.
"""

from __future__ import annotations

AUTO = "auto"

ID_SETS: tuple[str, ...] = ("cifar10", "demo", "openood")
"""In-distribution sets known by name."""

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

OPENOOD_SETS: tuple[str, ...] = (
    "tin597_train",
    "tin_val",
    "cifar100",
    "tin",
    "mnist",
    "svhn",
    "texture",
    "places365",
)
"""OpenOOD's lists, as ``study.data.openood`` names them; there with ``id: openood`` alone."""

DEMO_SETS: tuple[str, ...] = (
    "digits_train",
    "digits_test",
    "drawn_outliers",
    "letters_val",
    "textures_val",
    "letters_test",
    "textures_test",
    "noise_test",
)
"""Sets of the embedded demo."""
