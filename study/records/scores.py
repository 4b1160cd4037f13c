"""Per-image validation scores of trials on disk: written once an epoch, never again.

scores/images.npz            label, id and source of every image of every validation set
scores/00003/epoch_0001.npz  scores and predictions of one epoch of trial 3, a row a state
scores/base.npz              both in one file: the base, and trials of older runs

An epoch's file holds the hash of the file of images, and the ledger that of the epoch's file, so
that the ledger seals every number that is computed from them. Knows neither torch nor Ray.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.records.files import RunFolder, write_bytes

SCORES_SCHEMA = 1
TORN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
"""What reading a damaged file of scores ends in."""
_OF_IMAGES = ("label", "image", "group")
Arrays = Mapping[str, NDArray[Any]]
Rows = NDArray[np.bool_] | NDArray[np.intp] | slice


@dataclass(frozen=True)
class SetScores:
    """Scores of one validation set over the states of a trial.

    Attributes:
        scores: score name -> (S, N) float64, higher = more OOD.
        prediction: predicted class, (S, N) int16.
        label: true class, (N,) int16, -1 where there is none.
        image: image id, (N,) bytes.
        group: source group, (N,) bytes; equal to ``image`` where each is its own source.
    """

    scores: dict[str, NDArray[np.float64]]
    prediction: NDArray[np.int16]
    label: NDArray[np.int16]
    image: NDArray[np.bytes_]
    group: NDArray[np.bytes_]

    def cut(self, rows: Rows) -> SetScores:
        """The same with some of the states."""
        scores = {name: values[rows] for name, values in self.scores.items()}
        return replace(self, scores=scores, prediction=self.prediction[rows])


@dataclass(frozen=True)
class ValidationScores:
    """Per-image validation scores of the states of one trial.

    A state is one set of weights that was scored: an epoch, and a place on the path from the base
    to that epoch's weights.

    Attributes:
        epochs: epoch of each state, 1-based, (S,) int32, in ascending order.
        sets: ``VAL_ID`` and the name of each OOD validation set -> its scores.
        alphas: place of each state on the path, (S,) float64, ascending within an epoch; 1 is
            the trial as trained, 0 its base.
    """

    epochs: NDArray[np.int32]
    sets: dict[str, SetScores] = field(default_factory=dict)
    alphas: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        """Scores of a trial without a path are of its epochs as trained."""
        if len(self.alphas) != len(self.epochs):
            object.__setattr__(self, "alphas", np.ones(len(self.epochs)))

    def at(self, epoch: int, alpha: float = 1.0) -> int:
        """Row of a state in every (S, N) array (KeyError if it was not reported)."""
        rows = np.flatnonzero((self.epochs == epoch) & np.isclose(self.alphas, alpha))
        if not rows.size:
            told = f"epoch {epoch}" if alpha == 1 else f"epoch {epoch}, alpha {alpha:g}"
            raise KeyError(f"{told} was not reported; reported: {self.reported()}")
        return int(rows[0])

    def reported(self) -> str:
        """The epochs that were reported, as words."""
        return ", ".join(str(epoch) for epoch in np.unique(self.epochs)) or "none"

    def cut(self, rows: Rows) -> ValidationScores:
        """The same with some of the states."""
        sets = {name: one.cut(rows) for name, one in self.sets.items()}
        return ValidationScores(self.epochs[rows], sets, self.alphas[rows])

    def upto(self, epoch: int) -> ValidationScores:
        """The same without the epochs after ``epoch``."""
        return self.cut(self.epochs <= epoch)

    def followed_by(self, *later: ValidationScores) -> ValidationScores:
        """The same with the states of others, which score the same images, appended."""
        parts = [one for one in (self, *later) if one.sets]
        if len(parts) < 2:
            return parts[0] if parts else self
        sets = {}
        for name, one in parts[0].sets.items():
            own = [part.sets[name] for part in parts]
            scores = {s: np.concatenate([part.scores[s] for part in own]) for s in one.scores}
            prediction = np.concatenate([part.prediction for part in own])
            sets[name] = replace(one, scores=scores, prediction=prediction)
        return ValidationScores(
            np.concatenate([part.epochs for part in parts]),
            sets,
            np.concatenate([part.alphas for part in parts]),
        )

    def of_states(self) -> dict[str, NDArray[Any]]:
        """What differs from state to state, by its name in a file."""
        arrays: dict[str, NDArray[Any]] = {"epochs": self.epochs, "alphas": self.alphas}
        for name, one in self.sets.items():
            arrays |= {f"{name}/score/{score}": values for score, values in one.scores.items()}
            arrays[f"{name}/prediction"] = one.prediction
        return arrays

    def of_images(self) -> dict[str, NDArray[Any]]:
        """What every state shares, by its name in a file."""
        return {
            f"{name}/{part}": getattr(one, part)
            for name, one in self.sets.items()
            for part in _OF_IMAGES
        }

    def save(self, path: Path) -> None:
        """Write everything as one uncompressed npz, by rename."""
        write_bytes(path, _packed(self.of_states() | self.of_images()))

    @classmethod
    def load(cls, path: Path) -> ValidationScores:
        """Read what ``save`` wrote (ValueError for another schema)."""
        return cls.of(_unpacked(path))

    @classmethod
    def of(cls, arrays: Arrays) -> ValidationScores:
        """The scores that the arrays of files hold."""
        sets = {}
        for name in [key.removesuffix("/label") for key in arrays if key.endswith("/label")]:
            prefix = f"{name}/score/"
            scores = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            parts = [arrays[f"{name}/{part}"] for part in ("prediction", *_OF_IMAGES)]
            sets[name] = SetScores(scores, *parts)
        epochs = arrays["epochs"]
        return cls(epochs, sets, arrays.get("alphas", np.ones(len(epochs))))


def add_epoch(run: RunFolder, trial: str, scores: ValidationScores, *, kept: bool = False) -> str:
    """Keep the states of one epoch of a trial; all on disk when this returns.

    Args:
        run: its folder.
        trial: the trial.
        scores: of the states of one epoch.
        kept: whether they are of the part of validation that is kept for confirmation.

    Returns:
        SHA-256 of the file, for the ledger.
    """
    images = run.score_images(kept=kept)
    if not images.exists():
        write_bytes(images, _packed(scores.of_images()))
    seal = np.array(hashlib.sha256(images.read_bytes()).hexdigest(), np.bytes_)
    content = _packed({"images": seal} | scores.of_states())
    folder = run.epoch_scores(trial, kept=kept)
    write_bytes(folder / epoch_file(int(scores.epochs[0])), content)
    return hashlib.sha256(content).hexdigest()


def read_scores(
    run: RunFolder,
    trial: str,
    *,
    kept: bool = False,
    sealed: Mapping[int, str] | None = None,
    epochs: Collection[int] | None = None,
    score: str = "",
) -> ValidationScores:
    """Every recorded state of a trial, or the one of the base.

    Args:
        run: its folder.
        trial: the trial.
        kept: whether those on the part of validation that is kept for confirmation.
        sealed: epoch -> the hash of its file; epochs without one are read as they are.
        epochs: read and check the states of these alone; all where None.
        score: read this one of the scores alone; all where empty.

    Raises:
        FileNotFoundError: where there are none.
        OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile: where a file is damaged, is
            not what was sealed, or is missing.
    """
    one_file = run.trial_scores(trial, kept=kept)
    files = {_epoch_of(one): one for one in run.epoch_scores(trial, kept=kept).glob("epoch_*.npz")}
    if not files:
        found = ValidationScores.load(one_file)
        return found if epochs is None else found.cut(np.isin(found.epochs, [*epochs]))
    images_file = run.score_images(kept=kept)
    images, seal = _images(images_file, images_file.stat().st_mtime_ns)
    parts = []
    if one_file.exists():  # an older run that goes on
        earlier = ValidationScores.load(one_file).upto(min(files) - 1)
        parts += [earlier if epochs is None else earlier.cut(np.isin(earlier.epochs, [*epochs]))]
    for epoch in sorted(files if epochs is None else files.keys() & epochs):
        content = files[epoch].read_bytes()
        if (told := (sealed or {}).get(epoch)) and hashlib.sha256(content).hexdigest() != told:
            raise ValueError(f"{files[epoch].name} is not what the ledger holds the hash of")
        arrays = _unpacked(files[epoch], content, score)
        if arrays["images"].item() != seal:
            name = f"{files[epoch]} was not measured on the images that {images_file} names"
            raise ValueError(name)
        parts.append(ValidationScores.of(arrays | images))
    scores = ValidationScores(np.empty(0, np.int32)).followed_by(*parts)
    wanted = {epoch for epoch, seal in (sealed or {}).items() if seal}
    wanted &= wanted if epochs is None else {*epochs}
    if missing := sorted(wanted - {*scores.epochs}):
        raise ValueError(f"{epoch_file(missing[0])} is missing")
    return scores


def _epoch_of(path: Path) -> int:
    return int(path.stem.removeprefix("epoch_"))


@lru_cache(maxsize=2)
def _images(path: Path, _changed: int) -> tuple[dict[str, NDArray[Any]], bytes]:
    """The images that all trials of a run are scored on, and the hash of their file."""
    content = path.read_bytes()
    return _unpacked(path, content), hashlib.sha256(content).hexdigest().encode()


def has_scores(run: RunFolder, trial: str, *, kept: bool = False) -> bool:
    """Whether per-image scores of a trial (or of the base) were kept."""
    folder = run.epoch_scores(trial, kept=kept)
    return folder.is_dir() or run.trial_scores(trial, kept=kept).exists()


def epoch_file(epoch: int) -> str:
    """Name of the file of one epoch's scores."""
    return f"epoch_{epoch:04d}.npz"


def _packed(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    schema = np.array(SCORES_SCHEMA, np.int32)
    np.savez(buffer, schema=schema, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _unpacked(
    path: Path, content: bytes | None = None, score: str = ""
) -> dict[str, NDArray[Any]]:
    """The arrays of a file; of several scores one alone where it is named."""
    content = path.read_bytes() if content is None else content
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        names = (
            name for name in file.files
            if not score or "/score/" not in name or name.endswith(f"/score/{score}")
        )  # fmt: skip
        arrays = {name: file[name] for name in names}
    if int(arrays.get("schema", -1)) != SCORES_SCHEMA:
        raise ValueError(f"{path}: not a scores file of schema {SCORES_SCHEMA}")
    return arrays
