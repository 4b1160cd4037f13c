"""An exported winner in use: its folder read and checked, pictures scored as the final test does.

    from study.winner import load_winner

    winner = load_winner("model")
    for row in winner.score_files(paths): ...

The folder (`study.export` writes it) is laid out as a run's, so that a model is brought back by
the one way there is. ``model.json`` holds the hash of itself and of every other file, but for the
card, which is for people.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from study.bases.saved_models import SavedModel, load_model
from study.data.batches import evaluation_batches
from study.data.decode import DecodeRule, decode_images
from study.data.images import ImageSet, Pixels, printable
from study.errors import BadInput, Fault, StudyFailed
from study.records.files import RunFolder
from study.records.frozen import content_hash, file_hash
from study.training.evaluation import Scored, score_wholly

WINNER = "winner"  # takes a trial's place in the folder
MODEL_JSON, CARD, NETWORK = "model.json", "README.md", "network.pt"
SCHEMA = 1
BATCH_SIZE = 512  # the final test's
RECALL, CONFORMAL = "recall", "conformal"
_WAY_OUT = "Export the model again: python -m analysis export DIR --model OUT."
_LENIENT: Mapping[str, Mapping[str, bool]] = {
    "": {},
    "grey-scale": {"grey": True},
    "small": {"enlarge": True},
    "small and grey-scale": {"grey": True, "enlarge": True},
}
"""What a picture is that a relaxed rule alone takes; the first that does counts."""
_KEYS = {"schema", "classes", "rule", "score", "thresholds", "conformal", "files"}


@dataclass(frozen=True)
class Rows:
    """Images that were scored, in their order.

    Attributes:
        predicted: class, (N,).
        score: higher means more OOD, (N,) float64.
        accepted: whether the score is at or under the threshold, (N,).
    """

    predicted: NDArray[np.int16]
    score: NDArray[np.float64]
    accepted: NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """One picture that was scored.

    Attributes:
        path: of the file.
        label: name of the predicted class.
        score: higher means more OOD.
        accepted: whether it passes for ID.
    """

    path: Path
    label: str
    score: float
    accepted: bool


@dataclass
class Told:
    """What became of files beside their scores.

    Attributes:
        unreadable: a sentence each, of those without a score.
        unusual: of what the training data's rule refuses, and was scored all the same: its
            reason -> how many.
    """

    unreadable: list[str] = field(default_factory=list)
    unusual: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Winner:
    """A model with everything that it takes to use it.

    Attributes:
        facts: model.json.
        classes: names of the ID classes by label.
        rule: how its training images were brought to size and colour.
        device: where it computes.
    """

    facts: Mapping[str, Any]
    classes: tuple[str, ...]
    rule: DecodeRule
    device: torch.device
    _saved: SavedModel

    def threshold(self, kind: str = RECALL) -> float:
        """The highest score that is accepted.

        Args:
            kind: ``recall``, 95 % of validation ID; ``conformal``, see `study.scoring.conformal`.
        """
        value = self.facts["thresholds"][kind]
        return float("inf") if value is None else float(value)

    def score(self, pixels: Pixels, kind: str = RECALL, batch_size: int = BATCH_SIZE) -> Rows:
        """Score images that have the model's size already.

        Args:
            pixels: uint8 RGB, (N, size, size, 3).
            kind: of the threshold.
            batch_size: images at a time; fewer are taken where the memory does not do.

        Raises:
            BadInput: for images of another shape.
            StudyFailed: where not even one image fits into the memory.
        """
        size = self.rule.size
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (size, size, 3):
            rule = f"must be uint8 of shape (N, {size}, {size}, 3), got {pixels.shape}"
            raise BadInput(Fault("pixels", "", rule, "Bring them to the model's size."))
        scored = self._scored(ImageSet.make("images", pixels), batch_size)
        score = scored.scores[self.facts["score"]]
        return Rows(scored.prediction, score, score <= self.threshold(kind))

    def _scored(self, images: ImageSet, batch_size: int) -> Scored:
        saved = self._saved

        def read(images: ImageSet, device: torch.device) -> Iterator[torch.Tensor]:
            return evaluation_batches(images, batch_size, device, channels_last=True)

        try:
            return score_wholly(saved.recipe, saved.model, images, self.device, saved.fitted, read)
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
        if batch_size == 1:
            raise StudyFailed("there is not enough memory for one image at a time")
        return self._scored(images, batch_size // 2)

    def score_files(
        self,
        paths: Iterable[Path],
        told: Told | None = None,
        kind: str = RECALL,
        batch_size: int = BATCH_SIZE,
    ) -> Iterator[Row]:
        """Score pictures of any size and colour, as many at a time as are scored together.

        The rule of the training data brings them to size. What it refuses for being small or
        grey is enlarged, or gets equal channels, and is counted.

        Args:
            paths: of pictures.
            told: gets what cannot be read, and what is unusual.
            kind: of the threshold.
            batch_size: images at a time.

        Yields:
            A row each, without those that cannot be read.
        """
        told = told if told is not None else Told()
        left = iter(paths)
        while part := list(islice(left, batch_size)):
            decoded = [(path, self._decode(path, told)) for path in part]
            read = [(path, pixels) for path, pixels in decoded if pixels is not None]
            if not read:
                continue
            rows = self.score(np.concatenate([pixels for _, pixels in read]), kind, batch_size)
            for (path, _), *one in zip(
                read, rows.predicted, rows.score, rows.accepted, strict=True
            ):
                yield Row(path, self.classes[one[0]], float(one[1]), bool(one[2]))

    def _decode(self, path: Path, told: Told) -> Pixels | None:
        """One picture, (1, size, size, 3); None where it cannot be used."""
        place = printable(str(path))
        try:
            content = [path.read_bytes()]
        except OSError as error:
            told.unreadable.append(f"{place}: cannot be read: {error.strerror or error}")
            return None
        last = ""
        for why, lenient in _LENIENT.items():
            try:
                pixels = decode_images(content, replace(self.rule, **lenient), place, lambda _: "")
            except BadInput as error:
                last = error.faults[0].rule
                continue
            if why:
                told.unusual[why] = told.unusual.get(why, 0) + 1
            return pixels
        told.unreadable.append(f"{place}: {last}")
        return None


def load_winner(folder: str | Path) -> Winner:
    """Read what ``python -m analysis export DIR --model OUT`` wrote.

    Args:
        folder: OUT.

    Raises:
        BadInput: naming the file that is missing, or is not what was exported.
    """
    folder = Path(folder)
    facts = read_model_json(folder)
    changed = [name for name, seal in facts["files"].items() if file_hash(folder / name) != seal]
    if changed:
        rule = "is not the file that was exported"
        raise BadInput([Fault(str(folder / name), "", rule, _WAY_OUT) for name in changed])
    decoding = DecodeRule(**facts["rule"])
    saved = load_model(RunFolder(folder), WINNER, len(facts["classes"]), decoding.size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    saved.model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    saved.model.eval()
    return Winner(facts, tuple(facts["classes"]), decoding, device, saved)


def read_model_json(folder: Path) -> dict[str, Any]:
    """model.json, intact.

    Raises:
        BadInput: where there is none, it was changed, or it is of a later version.
    """
    path = folder / MODEL_JSON
    if not path.is_file():
        rule = "this folder holds no exported model" if folder.is_dir() else "is no folder"
        way_out = "Make one: python -m analysis export DIR --model OUT."
        raise BadInput(Fault(str(folder), "", rule, way_out))
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        intact = facts["sha256"] == content_hash(facts)
    except (OSError, ValueError, KeyError, TypeError) as error:
        rule = f"cannot be read ({error!r})"
        raise BadInput(Fault(str(path), "", rule, _WAY_OUT)) from error
    if not intact:
        rule = "was changed after the export: its content does not match its hash"
        raise BadInput(Fault(str(path), "sha256", rule, _WAY_OUT))
    if facts.get("schema") != SCHEMA or _KEYS - facts.keys():
        rule = f"is of another version of this program; this one reads schema {SCHEMA}"
        raise BadInput(Fault(str(path), "schema", rule, _WAY_OUT, facts.get("schema")))
    return facts


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return "not enough memory" in str(error) or "can't allocate memory" in str(error)
