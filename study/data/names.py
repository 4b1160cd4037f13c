"""Names of the data sets that a YAML may use, torch-free; ``sources`` holds their readers."""

from __future__ import annotations

AUTO = "auto"

ID_SETS: tuple[str, ...] = ("cifar10", "demo", "openood")
"""In-distribution sets known by name."""

EXTERNAL_SETS: tuple[str, ...] = (
    "300k_random_images",
    "svhn",
    "dtd",
    "cifar100",
    "places365",
    "lsun",
    "lsun_c",
    "lsun_resize",
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

KNOWN_SETS: tuple[str, ...] = (*ID_SETS, *EXTERNAL_SETS, *SYNTHETIC_SETS, *DEMO_SETS)
"""Every name."""
