"""Which trackers there are: what each needs, and where it puts a study."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from study.errors import BadInput, Fault
from study.extras import is_there, way_to
from study.tune import mlflow_tracker, wandb_tracker
from study.tune.shown import Shown
from study.tune.trackers import TrackedStudy, Tracker, TrackerObserver
from study.watch.progress import Progress


def check_trackers(names: Sequence[str]) -> None:
    """Look whether these can be told anything, before time is spent.

    Raises:
        BadInput: naming those that are not installed, or want a key.
    """
    faults = [
        Fault("--log", "", "is not installed", way_to(name), name)
        for name in names
        if not is_there(name)
    ]
    if "wandb" in names and is_there("wandb") and (why := wandb_tracker.refusal()):
        way_out = "Type wandb login, or set WANDB_MODE=offline and type wandb sync later."
        faults.append(Fault("--log", "", why, way_out, "wandb"))
    if faults:
        raise BadInput(faults)


def follow(name: str, study: TrackedStudy, shown: Shown, progress: Progress) -> TrackerObserver:
    """An observer that tells the tracker of this name."""
    if name == "mlflow":
        place = re.sub("//[^/@]*@", "//", mlflow_tracker.address(study.run))  # no password
        progress.note(f"MLflow: experiment {study.title} in {place}")
        make: Callable[[], Tracker] = partial(mlflow_tracker.MLflowTracker, study)
    else:
        place = str(wandb_tracker.folder_of(study.run))
        progress.note(f"W&B: group {study.title}; its files in {place}")
        make = partial(wandb_tracker.WandbTracker, study)
    return TrackerObserver(name, make, shown, progress.warning)
