"""What a study leaves on disk: the names of its files, their schema, and safe writers.

Knows neither torch nor Ray, so that ``analysis`` can read a run anywhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

STATUSES = ("finished", "pruned", "stopped", "failed", "paused", "running")
ALL_EPOCHS = "all epochs trained"  # why a trial normally ends; "; " and a remark may follow
VAL_ID = "val_id"  # name of the ID set in validation scores
TEST_ID = "test_id"  # and in the final test's
BASE = "base"  # takes a trial's place in the run's folder
WEIGHTS = "weights.safetensors"  # of a trial, at the epoch that the checkpoint rule picks
TRIAL_JSON = "trial.json"  # beside them: what they are the weights of
TEST_OPENED = "test opened"  # the ledger's event
TEST_SCORED = "test scored"  # the ledger's event: files (name -> SHA-256), of scores, of results
TUNING, TUNED = "tuning", "tuned"  # events of re-tuning: its points, and an arm's choice
LOOK = "look"  # the ledger's event: an ablation's arms are judged between two seeds
_KEPT = ".kept"
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
    states = _Place("states.parquet")
    """One row a trial, epoch and point of its path; where trials have one."""
    scores = _Place("scores")
    """Folder of per-image validation scores (``study.records.scores``)."""
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
    hold_outs = _Place("hold_outs.json")
    """Which hold-outs a study is run under, each in a folder of its own; few runs have it."""
    final_test = _Place("final_test")
    """Folder of the one-shot final test."""
    test_results = _Place("final_test/results.parquet")
    """What the final test's scores are worth, a row a set, score and model."""

    def panel(self, trial_id: str, epoch: int) -> Path:
        """The saliency panel of an epoch (1-based) of a trial; few epochs have one."""
        return self.panels / trial_id / f"epoch_{epoch:04d}.png"

    def redrawn(self, trial_id: str, epoch: int) -> Path:
        """Images beside their reconstructions after an epoch (1-based) of a trial."""
        return self.panels / trial_id / f"reconstructions_{epoch:04d}.png"

    def trial_scores(self, trial_id: str, *, kept: bool = False) -> Path:
        """Per-image validation scores in one file: the base's, and those of older runs' trials.

        ``kept``: of the part of validation that is kept for confirmation.
        """
        return self.scores / f"{trial_id}{_KEPT if kept else ''}.npz"

    def epoch_scores(self, trial_id: str, *, kept: bool = False) -> Path:
        """Folder of a trial's per-image validation scores, a file an epoch."""
        return self.scores / f"{trial_id}{_KEPT if kept else ''}"

    def score_images(self, *, kept: bool = False) -> Path:
        """The images that trials are scored on: label, id and source of each."""
        return self.scores / f"images{_KEPT if kept else ''}.npz"

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
