import torch
from torch.nn import functional

from study.models.resnet_cifar import Block, CifarResNet


def test_block_option_a_shortcut_takes_every_other_pixel_between_zero_channels():
    block = Block(2, 6, stride=2, dropout=0.0).eval()
    torch.nn.init.zeros_(block.bn2.weight)  # leaves the shortcut alone
    x = torch.rand(1, 2, 4, 4)
    out = block(x)
    assert out.shape == (1, 6, 2, 2)
    assert torch.equal(out[:, 2:4], x[:, :, ::2, ::2])
    assert not out[:, [0, 1, 4, 5]].any()


def test_block_without_change_of_shape_adds_its_input():
    block = Block(4, 4, stride=1, dropout=0.0).eval()
    x = torch.rand(2, 4, 5, 5)
    inner = functional.relu(block.bn1(block.conv1(x)))
    expected = functional.relu(block.bn2(block.conv2(inner)) + x)
    torch.testing.assert_close(block(x), expected)


def test_network_stages_have_total_stride_four():
    network = CifarResNet(20).eval()
    shapes = []
    for stage in (network.layer1, network.layer2, network.layer3):
        stage.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape)))
    network(torch.rand(1, 3, 32, 32))
    assert shapes == [(1, 16, 32, 32), (1, 32, 16, 16), (1, 64, 8, 8)]


def test_network_channels_last_equals_contiguous_and_stays_channels_last():
    network, images = CifarResNet(20).eval(), torch.rand(4, 3, 32, 32)
    expected = network(images)
    network.to(memory_format=torch.channels_last)
    layouts = []
    network.layer3.register_forward_hook(
        lambda _, __, out: layouts.append(out.is_contiguous(memory_format=torch.channels_last))
    )
    actual = network(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    assert layouts == [True]


def test_dropout_acts_in_training_only():
    network, images = CifarResNet(20, dropout=0.5).eval(), torch.rand(4, 3, 16, 16)
    assert torch.equal(network(images), network(images))
    network.train()
    torch.manual_seed(0)
    first = network(images)
    assert not torch.equal(network(images), first)
    torch.manual_seed(0)
    assert torch.equal(network(images), first)
