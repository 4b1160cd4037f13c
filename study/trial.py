"""One trial, without Ray: train from where it stands, keep its files, tell each epoch.

What a trial tells is text (JSON), so that floats arrive as they were and nothing is pickled.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from study.assignment import Assignment
from study.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
from study.data.roles import StudyData
from study.errors import TrialFailed
from study.models.weights import load_into, save_weights
from study.recipes.base import Recipe
from study.recipes.registry import make_recipe
from study.records import TRIAL_JSON, WEIGHTS, RunFolder, ValidationScores, write_json
from study.training import EpochResult, Goal, TrainingState, train


@dataclass(frozen=True)
class TrialSetting:
    """What every trial of a study shares; goes to the workers once, arrays uncopied.

    Attributes:
        recipe: name of the recipe.
        data: the roles that training may see.
        base_weights: weights to start from, None for a fresh initialisation.
        run: the run's folder, the same path on every machine.
        goal: what epochs are judged by.
        checkpoint_rule: "best" (lowest val/objective, earliest of equals) or "last".
        threads: CPU threads of a trial.
        device: "cpu" or "cuda".
    """

    recipe: str
    data: StudyData
    base_weights: dict[str, NDArray[Any]] | None
    run: Path
    goal: Goal
    checkpoint_rule: str
    threads: int
    device: str


def run_trial(assignment: Assignment, setting: TrialSetting) -> Iterator[str]:
    """Train and yield one message an epoch; a failure is a message too, and the last one.

    Yields:
        ``{"epoch": e, "metrics": {...}}`` or ``{"failed": reason, "cause": c, "traceback": t}``.
    """
    torch.set_num_threads(setting.threads)
    try:
        _need_shared_folder(setting.run)
        for result in _epochs(assignment, setting):
            yield json.dumps({"epoch": result.epoch, "metrics": result.metrics})
    except Exception as error:  # noqa: BLE001 - a failed trial is data; the study goes on
        yield json.dumps(_failure(error))
    finally:
        if setting.device == "cuda":
            torch.cuda.empty_cache()  # the next trial, or a neighbour on this GPU, needs it


def _need_shared_folder(run: Path) -> None:
    if not RunFolder(run).manifest.exists():
        raise TrialFailed(
            f"{run} is not to be seen from this machine; give --out on storage that all share"
        )


def _failure(error: Exception) -> dict[str, str]:
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, TrialFailed):
        return {"failed": str(error), "cause": "diverged", "traceback": ""}
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return {"failed": f"out of memory: {error}", "cause": "memory", "traceback": trace}
    return {"failed": f"{type(error).__name__}: {error}", "cause": "bug", "traceback": trace}


def _epochs(assignment: Assignment, setting: TrialSetting) -> Iterator[EpochResult]:
    """Train on from the recorded epochs; scores, checkpoint and chosen weights on disk first."""
    run = RunFolder(setting.run)
    folder = run.trial_checkpoints(assignment.trial_id)
    recipe = make_recipe(setting.recipe, assignment.train)
    told = {"recipe": setting.recipe, **asdict(replace(assignment, objectives=()))}
    write_json(folder / TRIAL_JSON, told)
    model = fresh_model(recipe, assignment, setting.data.num_classes, image_size(setting.data))
    if setting.base_weights is not None:
        load_numpy(model, setting.base_weights)
    start, scores = _standing(assignment, run)
    recorded = assignment.objectives[: start.epoch] if start else ()
    best = min(recorded, default=float("inf"))
    epochs = train(
        recipe,
        model,
        setting.data,
        seed=assignment.seed,
        goal=setting.goal,
        device=torch.device(setting.device),
        start=start,
    )
    for result in epochs:
        scores = scores.followed_by(result.scores)
        scores.save(run.trial_scores(assignment.trial_id))
        save_checkpoint(folder, result.state)
        value = result.metrics["val/objective"]
        if setting.checkpoint_rule == "last" or value < best:
            best = min(best, value)
            save_weights(result.state.model, folder / WEIGHTS, {"epoch": str(result.epoch)})
        yield result


def fresh_model(recipe: Recipe, assignment: Assignment, num_classes: int, size: int) -> nn.Module:
    """The assignment's model with freshly initialised weights."""
    return recipe.build_model(
        assignment.model["backbone"],
        num_classes,
        dropout=assignment.model["dropout"],
        image_size=size,
        seed=assignment.seed,
    )


def image_size(data: StudyData) -> int:
    """Side of the images, pixels."""
    return int(data.train.images.pixels.shape[1])


def _standing(
    assignment: Assignment, run: RunFolder
) -> tuple[TrainingState | None, ValidationScores]:
    """State and scores to go on from: of the newest recorded epoch that still has a checkpoint.

    Recorded epochs that are trained again come out the same; the ledger keeps the first telling.
    """
    folder = run.trial_checkpoints(assignment.trial_id)
    recorded = range(len(assignment.objectives), 0, -1)
    done = next((epoch for epoch in recorded if has_checkpoint(folder, epoch)), 0)
    if not done:
        return None, ValidationScores(np.empty(0, np.int32))
    scores = ValidationScores.load(run.trial_scores(assignment.trial_id))
    return load_checkpoint(folder, done), scores.upto(done)


def load_numpy(model: nn.Module, weights: dict[str, NDArray[Any]]) -> None:
    """Copy weights that came as (perhaps read-only) arrays into ``model``, all or none."""
    load_into(model, {name: torch.tensor(values) for name, values in weights.items()})
