"""Checkpoints of a run of training: written whole by rename, checked when read.

checkpoints/<trial>/epoch_0003/   model.safetensors, state.pt (optimizer, loss), meta.json
checkpoints/<trial>/weights.safetensors   the weights at the epoch that the checkpoint rule picks
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import shutil
from pathlib import Path

import torch

from study.errors import BadInput, Fault
from study.locks import sync_path
from study.models.weights import load_weights, save_weights
from study.records.frozen import file_hash
from study.training.loop import TrainingState

_NEWEST_KEPT = 2  # one may be ahead of the ledger, the other is then the one to resume from
_RENAMES = 5  # tries to take the place of a checkpoint that another process writes too
_MODEL, _STATE = "model.safetensors", "state.pt"


def checkpoint_path(folder: Path, epoch: int) -> Path:
    """Where the state after ``epoch`` is kept."""
    return folder / f"epoch_{epoch:04d}"


def save_checkpoint(folder: Path, state: TrainingState) -> None:
    """Write the state after an epoch under ``folder`` and drop all but the two newest."""
    target = checkpoint_path(folder, state.epoch)
    temporary = folder / f".{target.name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _write_state(temporary, state)
        _put_in_place(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_path(folder)
    states = sorted(folder.glob("epoch_*"), key=lambda path: int(path.name[len("epoch_") :]))
    for old in states[:-_NEWEST_KEPT]:
        _remove(old)


def _write_state(temporary: Path, state: TrainingState) -> None:
    save_weights(state.model, temporary / _MODEL, {"epoch": str(state.epoch)})
    with (temporary / _STATE).open("wb") as rest:  # by its path, torch has no word for a full disk
        try:
            torch.save({"optimizer": state.optimizer, "loss": state.loss}, rest)
        except RuntimeError as error:  # its own end of the file, which comes after the cause
            cause = error.__context__
            raise (cause if isinstance(cause, OSError) else error) from None
    sums = {name: file_hash(temporary / name) for name in (_MODEL, _STATE)}
    meta = json.dumps({"epoch": state.epoch, "sha256": sums}, indent=2)
    (temporary / "meta.json").write_text(meta)
    for file in temporary.iterdir():
        sync_path(file)


def _put_in_place(temporary: Path, target: Path) -> None:
    """Rename, in place of an older one.

    For some seconds after a driver was killed its worker trains on, beside the one that took the
    trial up. Both write the same bits; whose checkpoint stays does not matter, but a rename onto
    a folder that is there again fails.
    """
    for attempt in range(_RENAMES):
        if target.exists():
            _remove(target)
        try:
            temporary.rename(target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or attempt == _RENAMES - 1:
                raise


def _remove(state: Path) -> None:
    """Remove a checkpoint; a crash in the midst leaves none that is half there and looks whole."""
    aside = state.with_name(f".{state.name}.{os.getpid()}.old.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):  # another process was quicker
        state.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def load_checkpoint(folder: Path, epoch: int) -> TrainingState:
    """Read the state after ``epoch``.

    Raises:
        BadInput: naming the file that is missing, torn or altered.
    """
    path = checkpoint_path(folder, epoch)
    for name, expected in _checksums(path / "meta.json", epoch).items():
        if file_hash(path / name) != expected:
            raise BadInput(_fault(path / name, "does not match the checksum in meta.json"))
    weights, _ = load_weights(path / _MODEL)
    try:
        rest = torch.load(path / _STATE, map_location="cpu", weights_only=True)
        return TrainingState(epoch, weights, rest["optimizer"], rest["loss"])
    except (RuntimeError, pickle.UnpicklingError, KeyError, TypeError) as error:
        rule = f"cannot be read as a training state ({type(error).__name__})"
        raise BadInput(_fault(path / _STATE, rule)) from error


def _checksums(path: Path, epoch: int) -> dict[str, str]:
    try:
        meta = json.loads(path.read_text())
        sums = {name: str(meta["sha256"][name]) for name in (_MODEL, _STATE)}
        if meta["epoch"] != epoch:
            raise ValueError(f"it is of epoch {meta['epoch']}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(_fault(path, f"cannot be read ({error})")) from error
    return sums


def has_checkpoint(folder: Path, epoch: int) -> bool:
    """Whether a whole checkpoint of ``epoch`` is there (they appear by rename)."""
    return (checkpoint_path(folder, epoch) / "meta.json").exists()


def drop_checkpoints(folder: Path, but: int = 0) -> None:
    """Remove the resumable states of a trial, ``but`` that of one epoch; chosen weights stay."""
    for path in folder.glob("epoch_*"):
        if path != checkpoint_path(folder, but):
            _remove(path)


def _fault(path: Path, rule: str) -> Fault:
    return Fault(
        place=str(path),
        key="",
        rule=rule,
        way_out="Remove the trial's checkpoints; it then starts from its first epoch.",
    )
