from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from torch import nn

from study.errors import BadInput
from study.records.failures import DISK, cause_of
from study.records.files import WEIGHTS
from study.training.checkpoint import (
    checkpoint_path,
    drop_checkpoints,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from study.training.loop import TrainingState

FILES = ("model.safetensors", "state.pt", "meta.json")


def _state(epoch: int = 3) -> TrainingState:
    torch.manual_seed(epoch)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.rand(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    return TrainingState(
        epoch, model.state_dict(), optimizer.state_dict(), {"scale": torch.tensor(0.1)}
    )


def test_checkpoint_comes_back_to_the_last_bit_and_in_its_memory_format(tmp_path: Path) -> None:
    state = _state()
    save_checkpoint(tmp_path, state)
    loaded = load_checkpoint(tmp_path, 3)
    assert loaded.epoch == 3
    assert loaded.loss == state.loss
    for name, tensor in state.model.items():
        assert torch.equal(loaded.model[name], tensor)
        assert loaded.model[name].stride() == tensor.stride()
        assert loaded.model[name].dtype == tensor.dtype
    assert loaded.optimizer["param_groups"] == state.optimizer["param_groups"]
    for slot, values in state.optimizer["state"].items():
        other = loaded.optimizer["state"][slot]["momentum_buffer"]
        assert torch.equal(other, values["momentum_buffer"])


def test_the_two_newest_checkpoints_are_kept_and_nothing_half_written(tmp_path: Path) -> None:
    for epoch in (8, 9, 10, 11):
        save_checkpoint(tmp_path, _state(epoch))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch_0010", "epoch_0011"]
    assert [has_checkpoint(tmp_path, epoch) for epoch in (9, 10, 11)] == [False, True, True]
    assert {path.name for path in checkpoint_path(tmp_path, 11).iterdir()} == set(FILES)


def test_checkpoint_of_the_same_epoch_is_replaced(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, _state(3))
    weights = {name: tensor + 1 for name, tensor in _state(3).model.items()}
    save_checkpoint(tmp_path, TrainingState(3, weights, {}, {}))
    loaded = load_checkpoint(tmp_path, 3).model
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_dropping_checkpoints_keeps_the_chosen_weights(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, _state())
    (tmp_path / WEIGHTS).write_bytes(b"chosen")
    drop_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [WEIGHTS]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "changed", "removed"])
def test_damaged_file_of_a_checkpoint_is_refused_by_name(
    tmp_path: Path, name: str, damage: str
) -> None:
    save_checkpoint(tmp_path, _state())
    file = checkpoint_path(tmp_path, 3) / name
    content = bytearray(file.read_bytes())
    if damage == "removed":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)
    with pytest.raises(BadInput, match=name):
        load_checkpoint(tmp_path, 3)


@pytest.mark.parametrize("meta", ["{}", "[]", '{"epoch": 4, "sha256": {}}'])
def test_foreign_meta_file_is_refused_by_name(tmp_path: Path, meta: str) -> None:
    save_checkpoint(tmp_path, _state())
    (checkpoint_path(tmp_path, 3) / "meta.json").write_text(meta)
    with pytest.raises(BadInput, match=r"meta\.json"):
        load_checkpoint(tmp_path, 3)


class _Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_pickle_that_would_run_code_is_refused_even_with_the_right_checksum(
    tmp_path: Path,
) -> None:
    save_checkpoint(tmp_path, _state())
    folder = checkpoint_path(tmp_path, 3)
    torch.save({"optimizer": _Trap(tmp_path / "ran"), "loss": {}}, folder / "state.pt")
    meta = json.loads((folder / "meta.json").read_text())
    meta["sha256"]["state.pt"] = hashlib.sha256((folder / "state.pt").read_bytes()).hexdigest()
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(BadInput, match=r"state\.pt"):
        load_checkpoint(tmp_path, 3)
    assert not (tmp_path / "ran").exists()


def test_drop_leaves_the_state_of_the_epoch_that_is_named(tmp_path: Path) -> None:
    for epoch in (1, 2):
        save_checkpoint(tmp_path, _state(epoch))
    drop_checkpoints(tmp_path, but=1)
    assert [has_checkpoint(tmp_path, epoch) for epoch in (1, 2)] == [True, False]


def test_checkpoint_that_finds_the_disk_full_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the device stands in for a file of a full disk, at whatever level it is written
    write = torch.save

    def full(state: object, file: str | Path | IO[bytes]) -> None:
        with Path("/dev/full").open("wb") as device:
            write(state, device if hasattr(file, "write") else "/dev/full")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_checkpoint(tmp_path, _state())
    assert cause_of(caught.value) == DISK
    assert list(tmp_path.iterdir()) == []
