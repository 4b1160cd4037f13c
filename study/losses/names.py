"""What a YAML check needs to know of NORD-F's losses, torch-free."""

from __future__ import annotations

from typing import Final

RECONSTRUCTION_NAMES: Final = (
    "l1",
    "mse",
    "huber",
    "charbonnier",
    "ssim",
    "ms_ssim",
    "l1_ssim",
    "perceptual",
)
"""Every reconstruction loss that `study.losses.reconstruction` makes."""

PERCEPTUAL_INNER: Final = ("l1", "mse", "huber")
"""Distances between feature maps inside the perceptual loss."""

PERCEPTUAL_NETWORKS: Final = ("base", "vgg16", "resnet50", "efficientnet_b0", "convnext_tiny")
"""Networks of the perceptual loss: the project's own CIFAR base, then those of ImageNet."""

COLLAPSED_COSINE: Final = 0.99
"""From this mean cosine of the upper features of different pairs on, they are called collapsed."""

SMALLEST_IMAGE: Final = {"ssim": 6, "l1_ssim": 6, "ms_ssim": 16}
"""Least height and width in pixels, of the losses that have one."""
