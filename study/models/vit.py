"""ViT-Tiny from timm (Dosovitskiy et al. 2021, arXiv:2010.11929; its size: arXiv:2012.12877).

The patch is the stride: 4 or 8 pixels for small images in place of 16, with a positional
embedding for the grid that results. Maps are the patch tokens behind the last LayerNorm. The
class token takes part in attention, as in the public weights, and is not read.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from study.models.names import stride_of

BACKBONES: Final = {
    "vit_tiny": {
        "strides": (4, 8, 16),
        "num_features": 192,
        "dropout": True,
        "least_side": 8,
        # DeiT's weights: the same network, trained on ImageNet-1k alone and with its usual
        # normalisation, where those under ViT-Tiny's own name have seen ImageNet-21k and take
        # other means.
        "requires": ("timm",),
        "pretrained": "timm/deit_tiny_patch16_224.fb_in1k",
    }
}


class VisionTransformer(nn.Module):
    """timm's patch embedding, tokens, blocks and last norm without the head, with its keys."""

    def __init__(self, image_size: int, patch: int, dropout: float = 0.0) -> None:
        """Build timm's vit_tiny_patch16_224 for another size, with fresh weights.

        Args:
            image_size: pixels, a multiple of ``patch``.
            patch: pixels; the stride of the maps.
            dropout: acts after the positional embedding and after every dense layer but those of
                queries, keys and values, as in the paper (its appendix B.1).
        """
        super().__init__()
        # Importing timm takes seconds; only these backbones pay for it.
        import timm

        network = timm.create_model(
            "vit_tiny_patch16_224",
            pretrained=False,
            num_classes=0,
            img_size=image_size,
            patch_size=patch,
            pos_drop_rate=dropout,
            proj_drop_rate=dropout,
        )
        self.stride = patch
        self.patch_embed = network.get_submodule("patch_embed")
        self.cls_token = network.get_parameter("cls_token")
        self.pos_embed = network.get_parameter("pos_embed")
        self.pos_drop = network.get_submodule("pos_drop")
        self.blocks = network.get_submodule("blocks")
        self.norm = network.get_submodule("norm")
        self.num_features = int(self.cls_token.shape[-1])

    def maps(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> maps (B, num_features, H / stride, W / stride)."""
        rows, columns = x.shape[2] // self.stride, x.shape[3] // self.stride
        patches = self.patch_embed(x)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        tokens = self.norm(self.blocks(self.pos_drop(tokens + self.pos_embed)))
        maps: Tensor = tokens[:, 1:].transpose(1, 2).unflatten(2, (rows, columns))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> features (B, num_features), the mean of the maps."""
        return self.maps(x).mean(dim=(2, 3))


def build(name: str, *, dropout: float, image_size: int) -> nn.Module:
    """ViT-Tiny: 192 features."""
    return VisionTransformer(image_size, stride_of(name, image_size), dropout)
