"""The recipes by name: one line here, one entry in ``catalog``, one file each."""

from __future__ import annotations

from typing import Any

from study.recipes.base import Frozen, Recipe
from study.recipes.baselines import BaselinesRecipe
from study.recipes.catalog import get_recipe_info
from study.recipes.classifier import ClassifierRecipe
from study.recipes.energy import EnergyRecipe
from study.recipes.nordf import NordfRecipe
from study.recipes.outliers import OutliersRecipe

RECIPES: dict[str, type[Recipe]] = {
    "classifier": ClassifierRecipe,
    "energy": EnergyRecipe,
    "outliers": OutliersRecipe,
    "nordf": NordfRecipe,
    "baselines": BaselinesRecipe,
}


def make_recipe(name: str, train: dict[str, Any], frozen: Frozen | None = None) -> Recipe:
    """The recipe ``name`` with the section ``train:`` (margins resolved) as its parameters.

    ``frozen`` builds the study's base model, for recipes that look at it; None for none.
    """
    info = get_recipe_info(name)
    return RECIPES[name](info, info.params.model_validate(train), frozen)
