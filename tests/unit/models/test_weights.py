import io
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from study.errors import BadInput
from study.models.classifier import MEAN
from study.models.registry import build_classifier
from study.models.weights import (
    load_into,
    load_public_resnet,
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


@pytest.mark.parametrize(
    ("metadata", "match"), [({"memory_format": "x"}, "memory_format"), ({"epoch": 3}, "text")]
)
def test_save_weights_bad_metadata_raises_and_writes_nothing(tmp_path, metadata, match):
    with pytest.raises(ValueError, match=match):
        save_weights({"a": torch.zeros(1)}, tmp_path / "w", metadata)
    assert not list(tmp_path.iterdir())


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


def as_public(model):
    """The state dict of ``model`` under the public names, without BatchNorm's counters."""
    return {
        "module." + key.removeprefix("backbone.").replace("fc.", "linear."): tensor
        for key, tensor in model.state_dict().items()
        if key not in ("mean", "std") and not key.endswith("num_batches_tracked")
    }


@pytest.mark.parametrize("nested", [True, False])
def test_load_public_resnet_fits_the_classifier(tmp_path, nested):
    model, other = resnet20(), resnet20(seed=1)
    public = as_public(model)
    torch.save({"state_dict": public, "best_prec1": 91.7} if nested else public, tmp_path / "w.th")
    load_into(other, load_public_resnet(tmp_path / "w.th"))
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(other(images), model(images))
    assert other.mean.flatten().tolist() == pytest.approx(MEAN)


def test_load_public_resnet_reads_safetensors_too(tmp_path):
    model, other = resnet20(), resnet20(seed=1)
    save_weights(as_public(model), tmp_path / "w.safetensors")
    load_into(other, load_public_resnet(tmp_path / "w.safetensors"))
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_load_public_resnet_of_another_depth_is_refused_by_key(tmp_path):
    torch.save(as_public(build_classifier("resnet32", 10, seed=0)), tmp_path / "w.th")
    with pytest.raises(BadInput, match=r"backbone\.layer1\.3\.conv1\.weight"):
        load_into(resnet20(), load_public_resnet(tmp_path / "w.th"))


class Trap:
    def __reduce__(self):
        return print, ("this code ran",)


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_load_public_resnet_pickle_that_would_run_code_is_refused(tmp_path, capsys, protocol):
    path = tmp_path / "w.th"
    if protocol == "torch":
        torch.save({"state_dict": Trap()}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(), protocol=2))  # the one torch itself writes
    with pytest.raises(BadInput, match=r"w\.th: cannot be read as weights"):
        load_public_resnet(path)
    assert "this code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [[1, 2], {"state_dict": {"a": 1}}, {"state_dict": {"a": torch.zeros(1)}}, {}]
)
def test_load_public_resnet_of_another_layout_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.th")
    with pytest.raises(BadInput, match=r"no state dict|not in the layout"):
        load_public_resnet(tmp_path / "w.th")


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"PK\x03\x04torn"])
def test_load_public_resnet_missing_or_torn_file_is_named(tmp_path, content):
    with pytest.raises(BadInput, match=r"none\.th: cannot be read"):
        load_public_resnet(tmp_path / "none.th")
    (tmp_path / "w.th").write_bytes(content)
    with pytest.raises(BadInput, match=r"w\.th: cannot be read"):
        load_public_resnet(tmp_path / "w.th")


def test_memory_format_of_model_without_images_is_contiguous():
    assert memory_format_of(nn.Linear(2, 2).state_dict()) == "contiguous"


def test_load_public_resnet_of_development_data_has_its_known_accuracy(shared_data):
    parquet = pytest.importorskip("pyarrow.parquet")
    image = pytest.importorskip("PIL.Image")
    # Whether the file is loaded right, normalisation and all: .81 is in the data's README.
    rows = parquet.read_table(shared_data / "cifar10" / "test.parquet").slice(0, 2000).to_pylist()
    pixels = np.stack([np.asarray(image.open(io.BytesIO(row["img"]["bytes"]))) for row in rows])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    model = resnet20()
    load_into(model, load_public_resnet(shared_data / "weights" / "resnet20_cifar10_public.th"))
    with torch.inference_mode():
        predicted = torch.cat([model(part).argmax(dim=1) for part in images.split(250)])
    accuracy = np.mean(predicted.numpy() == [row["label"] for row in rows])
    assert accuracy == pytest.approx(0.81, abs=0.02)
