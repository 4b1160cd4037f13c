"""One trial, without Ray: train from where it stands, keep its files, tell each epoch.

What a trial tells is text (JSON), so that floats arrive as they were and nothing is pickled.
"""

from __future__ import annotations

import ctypes
import json
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from study.data.roles import KeptPart, StudyData
from study.device import precision_on
from study.errors import BadInput, TrialFailed
from study.recipes.base import Recipe
from study.recipes.params import TrialParams
from study.recipes.registry import make_recipe
from study.records.failures import DIVERGED, FILE, MEMORY, cause_of
from study.records.files import KEPT, TRIAL_JSON, WEIGHTS, RunFolder, write_json
from study.records.frozen import file_hash
from study.records.scores import add_epoch, epoch_file
from study.scoring.objective import ALPHA, WORST, standing
from study.scoring.path import PathPlan
from study.training.assignment import Assignment
from study.training.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
from study.training.chosen import ChosenWeights, save_chosen
from study.training.evaluation import Evaluation, evaluate_sets
from study.training.loop import EpochResult, Goal, TrainingState, train
from study.training.panels import NamesPanels, keep_panel, keep_reconstructions
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
        goal: what states are judged by.
        checkpoint_rule: "best" (above the floor, then the lowest val/objective, the earliest of
            equals) or "last".
        threads: CPU threads of a trial.
        device: "cpu" or "cuda".
        path: which points between base and trained weights are scored too, of the trials that
            have a path; None where none has.
    """

    recipe: str
    data: StudyData
    starting: Starting
    run: Path
    goal: Goal
    checkpoint_rule: str
    threads: int
    device: str
    path: PathPlan | None = None


def run_trial(assignment: Assignment, setting: TrialSetting) -> Iterator[str]:
    """Train and yield one message an epoch; a failure is a message too, and the last one.

    Yields:
        ``{"epoch": e, "metrics": {...}, "scores": sha256, "states": [{"val/alpha": a, ...}]}``
        (no states without a path) or ``{"failed": reason, "cause": c, "traceback": t}``.
    """
    torch.set_num_threads(setting.threads)
    try:
        _need_shared_folder(setting.run)
        for result, sealed in _epochs(assignment, setting):
            yield json.dumps(_told(result, sealed))
    except Exception as error:
        if setting.device == "cuda" and _is_dead(error):
            raise  # this process can use its GPU no more: Ray tells of it, and takes another
        yield json.dumps(_failure(error))
    finally:
        give_back_memory(setting.device)


def _told(result: EpochResult, sealed: Mapping[str, str]) -> dict[str, Any]:
    """An epoch as the driver is told of it; of its states what candidates are compared by."""
    told = {"epoch": result.epoch, "metrics": result.metrics, **sealed}
    if ALPHA not in result.metrics:
        return told
    states = [{ALPHA: one.alpha} | _summary(one.metrics) for one in result.states]
    return told | {"states": states}


def _summary(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a state that are of no one set or score."""
    return {name: value for name, value in metrics.items() if name.count("/") == 1}


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
    with suppress(AttributeError, TypeError):  # other C libraries have no such call
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


def _epochs(
    assignment: Assignment, setting: TrialSetting
) -> Iterator[tuple[EpochResult, dict[str, str]]]:
    """Train on from the recorded epochs; scores, checkpoint and chosen weights on disk first.

    Yields:
        The result of an epoch, and the hashes of its scores, of the kept part's too.
    """
    run = RunFolder(setting.run)
    folder = run.trial_checkpoints(assignment.trial_id)
    base = setting.starting.base_of(assignment.base)
    recipe = make_recipe(setting.recipe, assignment.train, base.build if base else None)
    device = torch.device(setting.device)
    precision = precision_on(assignment.train.get("precision", "auto"), device)
    told = asdict(replace(assignment, standings=(), scores=()))
    told |= {"recipe": setting.recipe, "precision": precision}
    write_json(folder / TRIAL_JSON, told)
    model = fresh_model(recipe, assignment, setting.data.num_classes, setting.data.image_size)
    weights = setting.starting.weights_of(assignment.base, assignment.model["backbone"])
    if weights is not None:
        recipe.load_start(model, tensors(weights))
    start = _standing(assignment, folder)
    done = start.epoch if start else 0
    _check_scores(run, assignment, done)
    part = setting.data.kept if assignment.kept else None
    best = min(assignment.standings[:done], default=WORST)
    epochs_asked = int(assignment.train["epochs"])
    epochs = train(
        recipe,
        model,
        setting.data,
        seed=assignment.seed,
        goal=setting.goal,
        device=device,
        start=start,
        path=setting.path if assignment.path else None,
    )
    for result in epochs:
        sealed = {"scores": add_epoch(run, assignment.trial_id, result.scores)}
        if part is not None:
            found = _scored_kept(part, recipe, model, result, device)
            of_kept = found.as_epoch(result.epoch, alpha=result.best.alpha)
            sealed["kept_scores"] = add_epoch(run, assignment.trial_id, of_kept, kept=True)
            for name, value in found.metrics(recipe.own_score).items():
                result.metrics[f"{KEPT}/{name.removeprefix('val/')}"] = value
        save_checkpoint(folder, result.state)
        if isinstance(recipe.params, NamesPanels) and result.epoch in recipe.params.panel_epochs:
            path = run.panel(assignment.trial_id, result.epoch)
            keep_panel(path, model, setting.data, result.state.loss, device)
        if isinstance(recipe.params, NamesPanels) and result.epoch in {1, epochs_asked}:
            path = run.redrawn(assignment.trial_id, result.epoch)
            keep_reconstructions(path, model, setting.data, device)
        stands = standing(result.metrics)
        if setting.checkpoint_rule == "last" or stands < best:
            best = min(best, stands)
            notes = {"epoch": str(result.epoch), "alpha": f"{result.best.alpha:g}"}
            chosen = ChosenWeights(result.best.weights, result.fitted, result.state.loss, notes)
            save_chosen(folder / WEIGHTS, chosen)
        yield result, sealed


def _check_scores(run: RunFolder, assignment: Assignment, done: int) -> None:
    """The scores of the recorded epochs that are not trained again are what the ledger says."""
    for epoch, sealed in enumerate(assignment.scores[:done], start=1):
        path = run.epoch_scores(assignment.trial_id) / epoch_file(epoch)
        if sealed and file_hash(path) != sealed:
            rule = "is not what was recorded" if path.exists() else "is missing"
            way_out = "Restore it from a copy, or remove the trial's checkpoints: it starts over."
            raise _UnusableFile(f"{path}: {rule}. {way_out}")


def _scored_kept(
    part: KeptPart,
    recipe: Recipe[TrialParams],
    model: nn.Module,
    result: EpochResult,
    device: torch.device,
) -> Evaluation:
    """The best state of an epoch on the part of validation that is kept for confirming runs.

    What scores need beside the model was fitted and calibrated on the other part; val/objective,
    and with it the epoch that counts, is of the other part too.
    """
    try:
        model.load_state_dict(result.best.weights)
        return evaluate_sets(recipe, model, part.id, part.ood, device, result.fitted)
    except TrialFailed as error:
        raise TrialFailed(f"epoch {result.epoch}, kept part: {error}") from error
    finally:
        model.load_state_dict(result.state.model)


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
    recorded = range(len(assignment.standings), 0, -1)
    done = next((epoch for epoch in recorded if has_checkpoint(folder, epoch)), 0)
    try:
        return load_checkpoint(folder, done) if done else None
    except BadInput as error:
        raise _UnusableFile(str(error)) from error
