import torch
from torch.nn import functional

from study.models.wrn import Block, WideResNet


def test_block_is_preactivated_and_projects_the_activated_input():
    block = Block(3, 5, stride=2, dropout=0.0).eval()
    x = torch.randn(2, 3, 6, 6)
    active = functional.relu(block.bn1(x))
    residual = block.conv2(functional.relu(block.bn2(block.conv1(active))))
    torch.testing.assert_close(block(x), residual + block.shortcut(active))


def test_block_of_equal_width_adds_its_raw_input():
    block = Block(4, 4, stride=1, dropout=0.0).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 5, 5)
    assert block.shortcut is None
    assert torch.equal(block(x), x)


def test_block_does_not_change_its_input():
    x = torch.randn(2, 4, 5, 5)
    before = x.clone()
    Block(4, 4, stride=1, dropout=0.0)(x)
    assert torch.equal(x, before)


def test_dropout_acts_in_training_only_and_is_seeded_by_the_global_generator():
    network, images = WideResNet(10, 1, dropout=0.5), torch.rand(2, 3, 16, 16)
    torch.manual_seed(0)
    first = network(images)
    assert not torch.equal(network(images), first)
    torch.manual_seed(0)
    assert torch.equal(network(images), first)
    network.eval()
    assert torch.equal(network(images), network(images))


def test_network_channels_last_equals_contiguous():
    network, images = WideResNet(16, 2).eval(), torch.rand(2, 3, 32, 32)
    expected = network(images)
    network.to(memory_format=torch.channels_last)
    actual = network(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
