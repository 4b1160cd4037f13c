"""What a checkpoint may hold beside weights, and what is refused."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from study.errors import BadInput
from study.models.checkpoint_files import read_checkpoint
from study.models.weights import save_weights


class Options(dict):
    """A bag of options as libraries of configurations have it: a dict with attributes."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.frozen = True


class Plain:
    def __init__(self) -> None:
        self.rate = 0.1


@pytest.mark.parametrize(
    "beside",
    [
        np.float64(0.912),
        np.float32(0.5),
        np.int64(3),
        np.bool_(True),
        np.arange(4),
        argparse.Namespace(lr=0.1),
        SimpleNamespace(lr=0.1),
        Path("data"),
        Options({"lr": 0.1}),
        Plain(),
        {1, 2},
        [np.float64(1.0), Plain()],
    ],
    ids=lambda value: type(value).__name__,
)
def test_read_checkpoint_passes_over_what_stands_beside_the_weights(
    beside: Any, tmp_path: Path
) -> None:
    torch.save({"state_dict": {"a": torch.ones(2)}, "beside": beside}, tmp_path / "w.pth")
    assert torch.equal(read_checkpoint(tmp_path / "w.pth")["state_dict"]["a"], torch.ones(2))


def test_read_checkpoint_of_a_whole_network_gives_its_tensors_by_name(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()))
    torch.save({"net": network, "epoch": 3}, tmp_path / "w.pth")
    inner = read_checkpoint(tmp_path / "w.pth")["net"]
    assert torch.equal(inner["0.weight"], network[0].weight)
    assert torch.equal(inner["1.0.running_var"], torch.ones(4))


def test_read_checkpoint_gives_sparse_tensors_dense(tmp_path: Path) -> None:
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "w.pth")
    assert torch.equal(read_checkpoint(tmp_path / "w.pth")["a"], torch.eye(3))


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_read_checkpoint_of_another_zip_is_told_and_advises_nothing_unsafe(tmp_path: Path) -> None:
    with (tmp_path / "w.pth").open("wb") as file:
        np.savez(file, a=np.ones(3))
    with pytest.raises(BadInput, match=r"\(it is a zip archive of NumPy arrays"):
        read_checkpoint(tmp_path / "w.pth")
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(tmp_path / "t.pt")
    with pytest.raises(BadInput, match=r"TorchScript") as caught:
        read_checkpoint(tmp_path / "t.pt")
    assert "will likely succeed" not in str(caught.value)


def test_read_checkpoint_reads_safetensors_and_torchs_older_format(tmp_path: Path) -> None:
    save_weights({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    for name in ("w.safetensors", "w.pth"):
        assert torch.equal(read_checkpoint(tmp_path / name)["a"], torch.ones(2))


class RunsCode:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("function", [print, eval, os.system, os.getcwd, open, __import__])
@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_read_checkpoint_that_would_run_code_is_refused_and_runs_none(
    function: Any, protocol: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trap, path = RunsCode(function, "echo run"), tmp_path / "w.th"
    if protocol == "torch":
        torch.save({"state_dict": {"a": torch.ones(2)}, "trap": trap}, path)
    else:
        path.write_bytes(pickle.dumps(trap, protocol=2))  # the one torch itself writes
    with pytest.raises(BadInput, match=r"w\.th: cannot be read as weights: .* \(refused\)"):
        read_checkpoint(path)
    assert capfd.readouterr().out == ""


def test_read_checkpoint_calls_no_class_of_the_file(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": RunsCode(Counted)}, tmp_path / "w.pth")
    Counted.made = 0
    read_checkpoint(tmp_path / "w.pth")
    assert Counted.made == 0


class Counted:
    made = 0

    def __init__(self) -> None:
        Counted.made += 1


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"PK\x03\x04torn"])
def test_read_checkpoint_torn_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.th").write_bytes(content)
    with pytest.raises(BadInput, match=r"w\.th: cannot be read as weights"):
        read_checkpoint(tmp_path / "w.th")


@pytest.mark.parametrize("end", ["pth", "safetensors"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<html>not found", "a page"),
        (b"version https://git-lfs.github.com/spec/v1\noid ab\n", "a pointer of Git LFS"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    ],
)
def test_read_checkpoint_of_another_kind_of_file_is_told_as_that(
    end: str, content: bytes, told: str, tmp_path: Path
) -> None:
    (tmp_path / f"w.{end}").write_bytes(content)
    with pytest.raises(BadInput, match=rf"w\.{end}: cannot be read as weights \(it is {told}"):
        read_checkpoint(tmp_path / f"w.{end}")


def test_read_checkpoint_goes_by_the_content_and_not_by_the_suffix(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    save_file({"a": torch.ones(3)}, tmp_path / "w.pth")
    assert len(read_checkpoint(tmp_path / "w.safetensors")["a"]) == 2
    assert len(read_checkpoint(tmp_path / "w.pth")["a"]) == 3


@pytest.mark.parametrize("name", ["none.pth", "none.safetensors"])
def test_read_checkpoint_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=rf"{name}: cannot be read as weights"):
        read_checkpoint(tmp_path / name)


def test_read_checkpoint_cut_short_is_named(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(300)}, tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes((tmp_path / "w.pth").read_bytes()[:-200])
    with pytest.raises(BadInput, match=r"w\.pth: cannot be read as weights"):
        read_checkpoint(tmp_path / "w.pth")


def test_read_checkpoint_of_one_number_is_refused(tmp_path: Path) -> None:
    torch.save(3, tmp_path / "w.pth")
    with pytest.raises(BadInput, match="holds int, and not a dict of weights"):
        read_checkpoint(tmp_path / "w.pth")
