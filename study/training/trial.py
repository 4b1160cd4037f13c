"""One trial, without Ray: train from where it stands, keep its files, tell each epoch.

What a trial tells is text (JSON), so that floats arrive as they were and nothing is pickled.
"""

from __future__ import annotations

import ctypes
import json
import traceback
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from study.data.roles import KeptPart, StudyData
from study.errors import BadInput, TrialFailed
from study.recipes.base import Recipe
from study.recipes.params import TrialParams
from study.recipes.registry import make_recipe
from study.records.failures import DIVERGED, FILE, MEMORY, cause_of
from study.records.files import (
    KEPT,
    TRIAL_JSON,
    WEIGHTS,
    RunFolder,
    ValidationScores,
    write_json,
)
from study.scoring.objective import OBJECTIVE
from study.training.assignment import Assignment
from study.training.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
from study.training.chosen import ChosenWeights, save_chosen
from study.training.evaluation import Evaluation, evaluate_sets
from study.training.loop import EpochResult, Goal, TrainingState, train
from study.training.panels import NamesPanels, keep_panel
from study.training.starting import Starting, network_of, tensors


class _UnusableFile(Exception):
    """A file that the trial would go on from is damaged or another's; its text names it."""


@dataclass(frozen=True)
class TrialSetting:
    """What every trial of a study shares; goes to the workers once, arrays uncopied.

    Attributes:
        recipe: name of the recipe.
        data: the roles that training may see.
        starting: the base, and the weights to start from.
        run: the run's folder, the same path on every machine.
        goal: what epochs are judged by.
        checkpoint_rule: "best" (lowest val/objective, earliest of equals) or "last".
        threads: CPU threads of a trial.
        device: "cpu" or "cuda".
    """

    recipe: str
    data: StudyData
    starting: Starting
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
    except Exception as error:
        if setting.device == "cuda" and _is_dead(error):
            raise  # this process can use its GPU no more: Ray tells of it, and takes another
        yield json.dumps(_failure(error))
    finally:
        give_back_memory(setting.device)


def give_back_memory(device: str) -> None:
    """Return what a trial has freed: to its GPU's neighbours, and to the machine.

    A worker serves many trials. glibc keeps the pieces that training freed and cannot always use
    them again: on real images a worker grew by some hundred MB a trial, to over 5 GB.

    Args:
        device: "cpu" or "cuda".
    """
    if device == "cuda":
        with suppress(RuntimeError):
            torch.cuda.empty_cache()
    with suppress(AttributeError):  # other C libraries have no such call
        ctypes.CDLL(None).malloc_trim(0)


def _need_shared_folder(run: Path) -> None:
    if not RunFolder(run).manifest.exists():
        raise TrialFailed(
            f"{run} is not to be seen from this machine; give --out on storage that all share"
        )


def _is_dead(error: Exception) -> bool:
    """Whether CUDA's context is lost, as after a failed assertion on the device."""
    return "CUDA error" in str(error) and cause_of(error) != MEMORY


def _failure(error: Exception) -> dict[str, str]:
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, _UnusableFile):
        return {"failed": str(error), "cause": FILE, "traceback": ""}
    cause = cause_of(error)
    if cause == DIVERGED:
        return {"failed": str(error), "cause": cause, "traceback": ""}
    if cause == MEMORY:
        return {"failed": f"out of memory: {error}", "cause": cause, "traceback": trace}
    return {"failed": f"{type(error).__name__}: {error}", "cause": cause, "traceback": trace}


def _epochs(assignment: Assignment, setting: TrialSetting) -> Iterator[EpochResult]:
    """Train on from the recorded epochs; scores, checkpoint and chosen weights on disk first."""
    run = RunFolder(setting.run)
    folder = run.trial_checkpoints(assignment.trial_id)
    base = setting.starting.base_of(assignment.base)
    recipe = make_recipe(setting.recipe, assignment.train, base.build if base else None)
    told = {"recipe": setting.recipe, **asdict(replace(assignment, objectives=()))}
    write_json(folder / TRIAL_JSON, told)
    model = fresh_model(recipe, assignment, setting.data.num_classes, setting.data.image_size)
    weights = setting.starting.weights_of(assignment.base, assignment.model["backbone"])
    if weights is not None:
        recipe.load_start(model, tensors(weights))
    start = _standing(assignment, folder)
    done = start.epoch if start else 0
    scores = _ScoresFile(run.trial_scores(assignment.trial_id), done)
    part, of_part = setting.data.kept if assignment.kept else None, None
    if part is not None:
        of_part = _ScoresFile(run.kept_scores(assignment.trial_id), done)
    best = min(assignment.objectives[:done], default=float("inf"))
    device = torch.device(setting.device)
    epochs = train(
        recipe,
        model,
        setting.data,
        seed=assignment.seed,
        goal=setting.goal,
        device=device,
        start=start,
    )
    for result in epochs:
        scores.add(result.scores)
        if part is not None and of_part is not None:
            found = _scored_kept(part, recipe, model, result, device)
            of_part.add(found.as_epoch(result.epoch))
            for name, value in found.metrics(recipe.own_score).items():
                result.metrics[f"{KEPT}/{name.removeprefix('val/')}"] = value
        save_checkpoint(folder, result.state)
        if isinstance(recipe.params, NamesPanels) and result.epoch in recipe.params.panel_epochs:
            path = run.panel(assignment.trial_id, result.epoch)
            keep_panel(path, model, setting.data, result.state.loss, device)
        value = result.metrics[OBJECTIVE]
        if setting.checkpoint_rule == "last" or value < best:
            best = min(best, value)
            notes = {"epoch": str(result.epoch)}
            chosen = ChosenWeights(result.state.model, result.fitted, result.state.loss, notes)
            save_chosen(folder / WEIGHTS, chosen)
        yield result


def _scored_kept(
    part: KeptPart,
    recipe: Recipe[TrialParams],
    model: nn.Module,
    result: EpochResult,
    device: torch.device,
) -> Evaluation:
    """An epoch's model on the part of validation that is kept for confirming runs.

    What scores need beside the model was fitted and calibrated on the other part; val/objective,
    and with it the epoch that counts, is of the other part too.
    """
    try:
        return evaluate_sets(recipe, model, part.id, part.ood, device, result.fitted)
    except TrialFailed as error:
        raise TrialFailed(f"epoch {result.epoch}, kept part: {error}") from error


def fresh_model(
    recipe: Recipe[TrialParams], assignment: Assignment, num_classes: int, size: int
) -> nn.Module:
    """The assignment's model with freshly initialised weights."""
    return recipe.build_model(
        assignment.model["backbone"],
        num_classes,
        dropout=assignment.model["dropout"],
        image_size=size,
        seed=assignment.seed,
        network=network_of(assignment.model),
    )


def _standing(assignment: Assignment, folder: Path) -> TrainingState | None:
    """The state to go on from: of the newest recorded epoch that still has a checkpoint.

    Recorded epochs that are trained again come out the same; the ledger keeps the first telling.
    """
    recorded = range(len(assignment.objectives), 0, -1)
    done = next((epoch for epoch in recorded if has_checkpoint(folder, epoch)), 0)
    try:
        return load_checkpoint(folder, done) if done else None
    except BadInput as error:
        raise _UnusableFile(str(error)) from error


class _ScoresFile:
    """A file of scores that grows by an epoch at a time; all on disk when ``add`` returns."""

    def __init__(self, path: Path, done: int) -> None:
        """Go on after the recorded epochs up to ``done``: all of them, or none."""
        self._path = path
        self._scores = ValidationScores(np.empty(0, np.int32))
        if done:
            self._scores = _recorded_scores(path, done)

    def add(self, later: ValidationScores) -> None:
        self._scores = self._scores.followed_by(later)
        self._scores.save(self._path)


def _recorded_scores(path: Path, done: int) -> ValidationScores:
    way_out = "Restore it from a copy, or remove it and the trial's checkpoints."
    try:
        scores = ValidationScores.load(path).upto(done)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        rule = f"{path}: cannot be read as a trial's scores ({type(error).__name__}: {error})"
        raise _UnusableFile(f"{rule}. {way_out}") from error
    if scores.epochs.tolist() != list(range(1, done + 1)):
        rule = f"{path}: holds the epochs {scores.epochs.tolist()}, not 1 to {done}"
        raise _UnusableFile(f"{rule}. {way_out}")
    return scores
