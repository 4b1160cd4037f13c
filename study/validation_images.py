"""A run's trial as a model, and the validation images that it was measured on. No test image.

The leak check at set-up may have dropped images, and repeating it would read the test sets. It
is not repeated: a trial's scores name the images that were left, and the manifest has their
fingerprints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from study.data.images import ImageSet
from study.errors import BadInput, Fault
from study.records.files import VAL_ID, WEIGHTS, RunFolder, trial_id
from study.records.frozen import read_frozen
from study.records.manifest import read_manifest
from study.records.scores import ValidationScores, has_scores, read_scores
from study.run_folder import recorded_plan
from study.space.loading import load_resolved

WINNER = "winner"


@dataclass(frozen=True)
class ValidationImages:
    """The validation roles of a run as its trials saw them.

    Attributes:
        val_id: ID images.
        ood: the OOD sets by name.
        num_classes: number of ID classes.
    """

    val_id: ImageSet
    ood: dict[str, ImageSet]
    num_classes: int


def find_trial(run: RunFolder, trial: str) -> str:
    """The id of a trial that has weights.

    Args:
        run: the run's folder.
        trial: an id (00003, or 3), "winner", or "base".

    Raises:
        BadInput: where the folder holds no run, or no weights of this trial; "winner" needs a
            frozen choice.
    """
    if not run.manifest.exists():
        rule = "this folder holds no study"
        raise BadInput(Fault("RUN", "", rule, "Name a run's folder.", str(run.path)))
    name = str(read_frozen(run.path)["winner"]) if trial == WINNER else trial
    name = trial_id(int(name)) if name.isascii() and name.isdigit() else name
    there = sorted(path.parent.name for path in run.checkpoints.glob(f"*/{WEIGHTS}"))
    if name not in there:
        rule = f"has no weights in {run.checkpoints}"
        way_out = f"There are: {', '.join(there)}." if there else "No trial has any."
        raise BadInput(Fault("TRIAL", "", rule, way_out, trial))
    return name


def load_scores(run: RunFolder, trial: str) -> ValidationScores | None:
    """A trial's recorded validation scores; None where there are none.

    Raises:
        BadInput: where the file cannot be read.
    """
    if not has_scores(run, trial):
        return None
    try:
        return read_scores(run, trial)
    except (OSError, ValueError, KeyError) as error:
        rule = f"cannot be read as scores ({error})"
        place = str(run.epoch_scores(trial))
        raise BadInput(Fault(place, "", rule, "Restore it from a copy.")) from error


def load_validation(run: RunFolder, scores: ValidationScores | None) -> ValidationImages:
    """Read the validation roles from the sources that the study was begun with.

    Args:
        run: the run's folder.
        scores: of any of its trials; they name the images that the leak check left.

    Raises:
        BadInput: where the images are not those of the study.
    """
    data = recorded_plan(run).load_study(load_resolved(run.spec).data)
    roles = read_manifest(run)["data"]["roles"]
    named = {VAL_ID: ("val_id", data.val_id.images)}
    named |= {name: (f"ood_val/{name}", images) for name, images in data.ood_val.sets.items()}
    sets = {
        name: _as_measured(run, name, images, roles.get(role, {}).get("fingerprint"), scores)
        for name, (role, images) in named.items()
    }
    return ValidationImages(sets.pop(VAL_ID), sets, data.num_classes)


def _as_measured(
    run: RunFolder,
    name: str,
    images: ImageSet,
    fingerprint: str | None,
    scores: ValidationScores | None,
) -> ImageSet:
    if images.fingerprint == fingerprint:
        return images
    if scores is not None and name in scores.sets:
        left = np.isin(images.ids, scores.sets[name].image)
        if left.any():
            images = images.take(np.flatnonzero(left))
    if images.fingerprint != fingerprint:
        rule = "these are not the images that the study was measured on"
        way_out = "Bring back the files of then."
        raise BadInput(Fault(str(run.manifest), f"data.roles.{name}", rule, way_out))
    return images
