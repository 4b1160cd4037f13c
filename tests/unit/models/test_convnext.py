import timm
import torch

from study.models.convnext import ConvNeXt


def test_native_network_equals_timm_s_with_its_last_norm_on_the_maps():
    network = ConvNeXt("convnextv2_atto", 32).eval()
    reference = timm.create_model("convnextv2_atto", pretrained=False, head_norm_first=True)
    reference.load_state_dict(network.state_dict(), strict=False)  # all but its head
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = reference.eval().forward_features(images)
        assert torch.equal(network.maps(images), expected)


def test_maps_have_mean_zero_and_deviation_one_over_channels_when_fresh():
    network = ConvNeXt("convnextv2_atto", 8).eval()
    with torch.inference_mode():
        maps = network.maps(torch.rand(2, 3, 16, 16))
    torch.testing.assert_close(maps.mean(dim=1), torch.zeros(2, 2, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        maps.std(dim=1, correction=0), torch.ones(2, 2, 2), atol=1e-2, rtol=0
    )


def test_small_stem_looks_at_one_pixel():
    with torch.device("meta"):
        assert ConvNeXt("convnextv2_atto", 8).stem[0].weight.shape == (40, 3, 1, 1)
        assert ConvNeXt("convnextv2_atto", 32).stem[0].weight.shape == (40, 3, 4, 4)
