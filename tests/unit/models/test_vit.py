import timm
import torch

from study.models.vit import VisionTransformer


def test_maps_are_timm_s_patch_tokens_row_by_row():
    network = VisionTransformer(16, 4).eval()
    reference = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, num_classes=0, img_size=16, patch_size=4
    ).eval()
    reference.load_state_dict(network.state_dict())
    images = torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        tokens = reference.forward_features(images)
        maps = network.maps(images)
    for row in range(4):
        for column in range(4):
            torch.testing.assert_close(maps[:, :, row, column], tokens[:, 1 + 4 * row + column])
