from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from study.bases.initial import bring_initial, keep_initial, kept_initial
from study.errors import BadInput
from study.models.registry import build_classifier
from study.models.weights import save_weights
from study.records.files import RunFolder


@pytest.fixture(scope="module")
def imagenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in timm's own layout, of the network as it is for 224 pixels."""
    path = tmp_path_factory.mktemp("weights") / "atto.pth"
    torch.manual_seed(0)
    torch.save(timm.create_model("convnextv2_atto", pretrained=False).state_dict(), path)
    return path


def test_imagenet_weights_come_without_head_and_tell_what_did_not_fit(
    imagenet_file: Path,
) -> None:
    (one,) = bring_initial(["convnextv2_atto"], 32, dropout=0.0, file=imagenet_file)
    assert not any(name.startswith("fc.") for name in one.weights)
    assert {"mean", "std"} <= set(one.weights)
    assert one.loaded.fitted or one.loaded.tensors  # the stem is another one at 32 pixels
    assert any("head" in name for name in one.loaded.unused)


def test_classifier_of_the_project_gives_its_backbone(tmp_path: Path) -> None:
    model = build_classifier("resnet20", 3, seed=4)
    save_weights(model, tmp_path / "mine.safetensors")
    (one,) = bring_initial(["resnet20"], 32, dropout=0.0, file=tmp_path / "mine.safetensors")
    state = model.state_dict()
    for name, values in one.weights.items():
        np.testing.assert_array_equal(values, state[name].numpy())
    assert set(one.loaded.unused) == {"fc.weight", "fc.bias"}


def test_weights_of_another_backbone_are_refused_by_both_names(imagenet_file: Path) -> None:
    with pytest.raises(BadInput, match=r"fit convnextv2_femto: .*They are of convnextv2_atto"):
        bring_initial(["convnextv2_femto"], 32, dropout=0.0, file=imagenet_file)


def test_run_keeps_the_weights_and_brings_them_back(tmp_path: Path, imagenet_file: Path) -> None:
    run = RunFolder(tmp_path)
    brought = bring_initial(["convnextv2_atto"], 32, dropout=0.0, file=imagenet_file)
    told = json.loads(json.dumps(keep_initial(run, brought)))
    (again,) = kept_initial(run, told)
    assert again.loaded == brought[0].loaded
    for name, values in brought[0].weights.items():
        np.testing.assert_array_equal(again.weights[name], values)


def test_changed_weights_of_a_run_are_refused_by_name(tmp_path: Path, imagenet_file: Path) -> None:
    run = RunFolder(tmp_path)
    brought = bring_initial(["convnextv2_atto"], 32, dropout=0.0, file=imagenet_file)
    told = keep_initial(run, brought)
    (path,) = (run.checkpoints / "initial").iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInput, match=r"convnextv2_atto\.safetensors.*fingerprint"):
        kept_initial(run, told)
