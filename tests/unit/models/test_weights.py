import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from study.errors import BadInput
from study.models.registry import build_classifier
from study.models.weights import (
    load_into,
    load_weights,
    memory_format_of,
    save_weights,
)

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def resnet20(seed=0):
    return build_classifier("resnet20", 10, seed=seed).eval()


@pytest.mark.parametrize("layout", FORMATS)
def test_save_load_round_trip_keeps_bits_format_and_metadata(tmp_path, layout):
    model = resnet20().to(memory_format=FORMATS[layout])
    images = torch.rand(4, 3, 32, 32)
    path = tmp_path / "weights.safetensors"
    save_weights(model, path, {"epoch": "3"})
    weights, metadata = load_weights(path)
    assert metadata == {"epoch": "3", "memory_format": layout}
    assert memory_format_of(weights) == layout
    assert list(tmp_path.iterdir()) == [path]

    other = resnet20(seed=1)
    load_into(other, weights)
    for key, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], tensor)
        assert other.state_dict()[key].stride() == tensor.stride()
    with torch.inference_mode():
        assert torch.equal(other(images), model(images))


def test_load_into_brings_channels_last_model_back_to_contiguous():
    weights = resnet20().state_dict()
    other = resnet20(seed=1).to(memory_format=torch.channels_last)
    load_into(other, weights)
    assert memory_format_of(other.state_dict()) == "contiguous"


def test_save_weights_stores_contiguous_tensors(tmp_path):
    model = resnet20().to(memory_format=torch.channels_last)
    path = tmp_path / "weights.safetensors"
    save_weights(model.state_dict(), path)
    assert all(tensor.is_contiguous() for tensor in load_file(path).values())


def test_save_weights_of_tensors_that_share_memory_keeps_each(tmp_path):
    buffer = torch.arange(6.0)
    save_weights({"a": buffer[:3], "b": buffer[2:]}, tmp_path / "w")
    weights, _ = load_weights(tmp_path / "w")
    assert weights["a"].tolist() == [0, 1, 2]
    assert weights["b"].tolist() == [2, 3, 4, 5]


def test_load_weights_of_plain_safetensors_counts_as_contiguous(tmp_path):
    save_file({"a": torch.ones(1, 2, 3, 4)}, tmp_path / "w")
    weights, metadata = load_weights(tmp_path / "w")
    assert metadata == {}
    assert weights["a"].is_contiguous()


def test_load_weights_missing_torn_or_foreign_file_is_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(BadInput, match=r"weights\.safetensors: cannot be read as weights"):
        load_weights(path)
    save_weights(resnet20(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match=r"weights\.safetensors: cannot be read as weights"):
        load_weights(path)
    path.write_bytes(b"")
    with pytest.raises(BadInput, match=r"weights\.safetensors: cannot be read as weights"):
        load_weights(path)
    save_file({"a": torch.zeros(1)}, path, {"memory_format": "diagonal"})
    with pytest.raises(BadInput, match="unknown memory_format"):
        load_weights(path)


def test_load_into_names_every_key_that_does_not_fit_and_changes_nothing():
    model = resnet20()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    weights = dict(resnet20(seed=1).state_dict())
    del weights["fc.bias"]
    weights["extra"] = torch.zeros(2)
    weights["fc.weight"] = torch.zeros(5, 64)
    with pytest.raises(BadInput) as caught:
        load_into(model, weights, "base.safetensors")
    assert [fault.key for fault in caught.value.faults] == ["fc.bias", "fc.weight", "extra"]
    assert "base.safetensors: fc.weight: is 5x64, the model has 10x64" in str(caught.value)
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[key])


def test_memory_format_of_model_without_images_is_contiguous():
    assert memory_format_of(nn.Linear(2, 2).state_dict()) == "contiguous"
