"""Trained models of a run, brought back from its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from study.errors import BadInput, Fault
from study.models.weights import load_into
from study.recipes.base import Fitted, Recipe
from study.recipes.params import TrialParams
from study.recipes.registry import make_recipe
from study.records.files import BASE, TRIAL_JSON, WEIGHTS, RunFolder
from study.records.words import todays_words
from study.training.assignment import Assignment
from study.training.chosen import load_chosen
from study.training.starting import BaseWeights, network_of
from study.training.trial import fresh_model


@dataclass(frozen=True)
class SavedModel:
    """A trial's model with the weights that the checkpoint rule kept.

    Attributes:
        recipe_name: name of the recipe.
        recipe: the recipe, with the trial's parameters.
        model: on the CPU.
        fitted: what the recipe's scores need beside the model.
        loss: state of the loss's own parameters; empty where it has none.
        epoch: that the weights are of; None for a base, which keeps none.
    """

    recipe_name: str
    recipe: Recipe[TrialParams]
    model: nn.Module
    fitted: Fitted
    loss: dict[str, Tensor]
    epoch: int | None


def load_model(run: RunFolder, trial: str, num_classes: int, image_size: int) -> SavedModel:
    """Rebuild a trial's model, or the base's.

    Args:
        run: the study.
        trial: a trial's id, or a base's name, "base".
        num_classes: K.
        image_size: side of the images, pixels.

    Raises:
        BadInput: naming a file that is missing, torn or of another model.
    """
    folder = run.trial_checkpoints(trial)
    told = read_trial_json(folder / TRIAL_JSON)
    name = str(told.pop("recipe"))

    def base() -> nn.Module:
        return load_base(run, num_classes, image_size, str(told.get("base", BASE))).build()

    try:
        recipe = make_recipe(name, told["train"], base)
        assignment = Assignment(told["number"], told["seed"], told["model"], told["train"])
        model = fresh_model(recipe, assignment, num_classes, image_size)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(_unfit(folder / TRIAL_JSON, error)) from error
    chosen = load_chosen(folder / WEIGHTS)
    load_into(model, chosen.model, folder / WEIGHTS)
    epoch = int(chosen.notes["epoch"]) if "epoch" in chosen.notes and trial != BASE else None
    return SavedModel(name, recipe, model, chosen.fitted, chosen.loss, epoch)


def load_base(run: RunFolder, num_classes: int, image_size: int, name: str = BASE) -> BaseWeights:
    """The base model of a run, or of this name among several, as its trials have it.

    Raises:
        BadInput: naming a file that is missing or torn.
    """
    folder = run.trial_checkpoints(name)
    told = read_trial_json(folder / TRIAL_JSON)["model"]
    weights = load_chosen(folder / WEIGHTS).model
    arrays = {name: values.numpy() for name, values in weights.items()}
    backbone, dropout, network = told["backbone"], told["dropout"], network_of(told)
    return BaseWeights(backbone, dropout, num_classes, image_size, arrays, network)


def base_name_of(run: RunFolder, trial: str) -> str:
    """Name of the base that a trial started from; of a study without one, of none.

    Raises:
        BadInput: where the trial's own file is missing or torn.
    """
    return str(read_trial_json(run.trial_checkpoints(trial) / TRIAL_JSON).get("base", BASE))


def read_trial_json(path: Path) -> dict[str, Any]:
    """What the weights beside a trial.json are of: recipe, number, seed, model, train.

    Raises:
        BadInput: where the file is missing, torn or does not tell.
    """
    try:
        told = json.loads(path.read_text())
        if not {"recipe", "number", "seed", "model", "train"} <= set(told):
            raise ValueError("keys are missing")
        if not all(isinstance(told[name], dict) for name in ("model", "train")):
            raise ValueError("model and train are to be sections")
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(_unfit(path, error)) from error
    return todays_words(told)


def _unfit(path: Path, error: Exception) -> Fault:
    rule = f"does not say what the weights are of ({str(error).partition(chr(10))[0]})"
    return Fault(str(path), "", rule, "Restore it from a copy.")
