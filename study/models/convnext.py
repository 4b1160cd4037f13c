"""ConvNeXt V2 (Woo et al. 2023, arXiv:2301.00808) and ConvNeXt (arXiv:2201.03545), from timm.

Small images take a stem of 1x1 in place of the 4x4 patches, so that the total stride is 8 in
place of 32: what the native network computes on the image enlarged four times, pixel by pixel.
The last LayerNorm stands before the pooling, on the maps, where timm has it behind: maps are then
of one scale for whatever reads them.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from study.models.names import stride_of

_NATIVE_STRIDE: Final = 32
_NATIVE_PATCH: Final = 4
# All trained on ImageNet-1k alone and with its usual normalisation. Files of ConvNeXt V2 that were
# only pre-trained (fcmae) have neither head nor last norm.
BACKBONES: Final = {
    "convnextv2_atto": {
        "strides": (8, 32),
        "num_features": 320,
        "dropout": False,
        "requires": ("timm",),
        "pretrained": "timm/convnextv2_atto.fcmae_ft_in1k",
        "fresh": ("norm_pre.weight", "norm_pre.bias"),
    },
    "convnextv2_femto": {
        "strides": (8, 32),
        "num_features": 384,
        "dropout": False,
        "requires": ("timm",),
        "pretrained": "timm/convnextv2_femto.fcmae_ft_in1k",
        "fresh": ("norm_pre.weight", "norm_pre.bias"),
    },
    "convnextv2_pico": {
        "strides": (8, 32),
        "num_features": 512,
        "dropout": False,
        "requires": ("timm",),
        "pretrained": "timm/convnextv2_pico.fcmae_ft_in1k",
        "fresh": ("norm_pre.weight", "norm_pre.bias"),
    },
    "convnextv2_nano": {
        "strides": (8, 32),
        "num_features": 640,
        "dropout": False,
        "requires": ("timm",),
        "pretrained": "timm/convnextv2_nano.fcmae_ft_in1k",
        "fresh": ("norm_pre.weight", "norm_pre.bias"),
    },
    "convnext_tiny": {
        "strides": (8, 32),
        "num_features": 768,
        "dropout": False,
        "requires": ("timm",),
        "pretrained": "timm/convnext_tiny.fb_in1k",
        "fresh": ("norm_pre.weight", "norm_pre.bias"),
    },
}


class ConvNeXt(nn.Module):
    """timm's stem, stages and last norm without the head; its keys are timm's (norm_pre)."""

    def __init__(self, name: str, stride: int) -> None:
        """Build timm's ``name`` with fresh weights.

        Args:
            name: such as "convnextv2_atto".
            stride: 8 with the small stem, 32 with the native one.
        """
        super().__init__()
        # Importing timm takes seconds; only these backbones pay for it.
        import timm

        patch = _NATIVE_PATCH * stride // _NATIVE_STRIDE
        network = timm.create_model(
            name, pretrained=False, num_classes=0, patch_size=patch, head_norm_first=True
        )
        self.stride = stride
        self.stem = network.get_submodule("stem")
        self.stages = network.get_submodule("stages")
        self.norm_pre = network.get_submodule("norm_pre")
        self.num_features = int(self.norm_pre.get_parameter("weight").numel())

    def maps(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> maps (B, num_features, H / stride, W / stride)."""
        maps: Tensor = self.norm_pre(self.stages(self.stem(x)))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> features (B, num_features), the mean of the maps."""
        return self.maps(x).mean(dim=(2, 3))


def build(name: str, *, dropout: float, image_size: int) -> nn.Module:
    """The network of that name, with the stem that the image size asks for."""
    del dropout
    return ConvNeXt(name, stride_of(name, image_size))
