"""What a study leaves on disk: the names of its files, their schema, and safe writers.

Knows neither torch nor Ray, so that ``analysis`` can read a run anywhere.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

STATUSES = ("finished", "pruned", "stopped", "failed", "paused", "running")
ALL_EPOCHS = "all epochs trained"  # why a trial normally ends; "; " and a remark may follow
SCORES_SCHEMA = 1
VAL_ID = "val_id"  # name of the ID set in validation scores
TEST_ID = "test_id"  # and in the final test's
BASE = "base"  # takes a trial's place in the run's folder
WEIGHTS = "weights.safetensors"  # of a trial, at the epoch that the checkpoint rule picks
TRIAL_JSON = "trial.json"  # beside them: what they are the weights of
TEST_OPENED = "test opened"  # the ledger's event
TUNING, TUNED = "tuning", "tuned"  # events of re-tuning: its points, and an arm's choice
LOOK = "look"  # the ledger's event: an ablation's arms are judged between two seeds
KEPT = "confirm"  # metrics of the kept part of validation are confirm/..., not val/...
CONFIRM = "confirm"  # the ledger's event: candidates, seeds, num_searched; and the trials' arm


def trial_id(number: int) -> str:
    """Name of trial ``number`` in every file: five digits."""
    return f"{number:05d}"


class _Place:
    """A place in a run's folder, by its name there."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, run: RunFolder, kind: type[RunFolder]) -> Path:
        return run.path / self._name


@dataclass(frozen=True)
class RunFolder:
    """The folder of one study and the place of everything in it."""

    path: Path

    spec = _Place("spec.yaml")
    """The resolved spec, YAML."""
    manifest = _Place("manifest.json")
    """Versions, commit, hardware, data fingerprints, leak check, base model, command."""
    ledger = _Place("ledger.jsonl")
    """Every event that matters, one line each."""
    trials = _Place("trials.parquet")
    """One row a trial."""
    epochs = _Place("epochs.parquet")
    """One row a trial and epoch."""
    scores = _Place("scores")
    """Folder of per-image validation scores, one file a trial."""
    checkpoints = _Place("checkpoints")
    """Folder of weights and training states, one folder a trial."""
    study_db = _Place("study.db")
    """Optuna's SQLite database, a projection of the ledger."""
    tensorboard = _Place("tensorboard")
    """Folder of event files, one folder a trial."""
    panels = _Place("panels")
    """Folder of saliency panels, one folder a trial."""
    selection = _Place("selection.json")
    """The frozen choice."""
    report = _Place("report.html")
    """The self-contained report."""
    failures = _Place("failures.txt")
    """Each distinct traceback once, with its trials."""
    final_test = _Place("final_test")
    """Folder of the one-shot final test."""

    def panel(self, trial_id: str, epoch: int) -> Path:
        """The saliency panel of an epoch (1-based) of a trial; few epochs have one."""
        return self.panels / trial_id / f"epoch_{epoch:04d}.png"

    def trial_scores(self, trial_id: str) -> Path:
        """Per-image validation scores of every reported epoch of a trial."""
        return self.scores / f"{trial_id}.npz"

    def kept_scores(self, trial_id: str) -> Path:
        """The same of the part of validation that confirming runs alone are scored on."""
        return self.scores / f"{trial_id}.kept.npz"

    def trial_checkpoints(self, trial_id: str) -> Path:
        """Folder of a trial's checkpoints."""
        return self.checkpoints / trial_id


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of ``path`` by rename once it is whole and synced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file by rename."""
    with replacing(path) as file:
        file.write(content)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write readable JSON by rename. NaN and infinities are refused (ValueError)."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


@dataclass(frozen=True)
class SetScores:
    """Scores of one validation set over the epochs of a trial.

    Attributes:
        scores: score name -> (E, N) float64, higher = more OOD.
        prediction: predicted class, (E, N) int16.
        label: true class, (N,) int16, -1 where there is none.
        image: image id, (N,) bytes.
        group: source group, (N,) bytes; equal to ``image`` where each is its own source.
    """

    scores: dict[str, NDArray[np.float64]]
    prediction: NDArray[np.int16]
    label: NDArray[np.int16]
    image: NDArray[np.bytes_]
    group: NDArray[np.bytes_]

    def cut(self, rows: NDArray[np.bool_] | slice) -> SetScores:
        """The same with some of the epochs."""
        scores = {name: values[rows] for name, values in self.scores.items()}
        return replace(self, scores=scores, prediction=self.prediction[rows])


@dataclass(frozen=True)
class ValidationScores:
    """Per-image validation scores of every reported epoch of one trial (scores/<trial>.npz).

    Attributes:
        epochs: epoch numbers, 1-based, (E,) int32.
        sets: ``VAL_ID`` and the name of each OOD validation set -> its scores.
    """

    epochs: NDArray[np.int32]
    sets: dict[str, SetScores] = field(default_factory=dict)

    def at(self, epoch: int) -> int:
        """Row of ``epoch`` in every (E, N) array (KeyError if it was not reported)."""
        rows = np.flatnonzero(self.epochs == epoch)
        if not rows.size:
            raise KeyError(f"epoch {epoch} was not reported; reported: {self.epochs.tolist()}")
        return int(rows[0])

    def upto(self, epoch: int) -> ValidationScores:
        """The same without the epochs after ``epoch``."""
        keep = self.epochs <= epoch
        sets = {name: one.cut(keep) for name, one in self.sets.items()}
        return ValidationScores(self.epochs[keep], sets)

    def followed_by(self, later: ValidationScores) -> ValidationScores:
        """The same with the epochs of ``later``, which scores the same images, appended."""
        if not self.sets:
            return later
        sets = {}
        for name, one in self.sets.items():
            two = later.sets[name]
            scores = {s: np.concatenate([v, two.scores[s]]) for s, v in one.scores.items()}
            prediction = np.concatenate([one.prediction, two.prediction])
            sets[name] = SetScores(scores, prediction, one.label, one.image, one.group)
        return ValidationScores(np.concatenate([self.epochs, later.epochs]), sets)

    def save(self, path: Path) -> None:
        """Write an uncompressed npz by rename."""
        arrays: dict[str, NDArray[Any]] = {
            "schema": np.array(SCORES_SCHEMA, np.int32),
            "epochs": self.epochs,
        }
        for name, one in self.sets.items():
            for score, values in one.scores.items():
                arrays[f"{name}/score/{score}"] = values
            for part in ("prediction", "label", "image", "group"):
                arrays[f"{name}/{part}"] = getattr(one, part)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> ValidationScores:
        """Read what ``save`` wrote (ValueError for another schema)."""
        # Opened here: numpy leaves its own handle open where the file is torn.
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        if int(arrays.get("schema", -1)) != SCORES_SCHEMA:
            raise ValueError(f"{path}: not a scores file of schema {SCORES_SCHEMA}")
        names = [key.removesuffix("/label") for key in arrays if key.endswith("/label")]
        sets = {}
        for name in names:
            prefix = f"{name}/score/"
            scores = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            parts = [
                arrays[f"{name}/{part}"] for part in ("prediction", "label", "image", "group")
            ]
            sets[name] = SetScores(scores, *parts)
        return cls(arrays["epochs"], sets)
