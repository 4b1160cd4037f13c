"""The recipes by name: one line here, one file of parameters and one of training each.

A YAML is checked against the parameters alone, which are free of torch; the file that trains is
imported when a recipe is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from study.recipes.baselines_params import BaselineParams
from study.recipes.classifier_params import ClassifierParams
from study.recipes.energy_params import EnergyParams, OutlierParams
from study.recipes.nordf_params import NordfParams
from study.recipes.params import TrialParams

if TYPE_CHECKING:
    from study.recipes.base import Frozen, Recipe

RECIPES: dict[str, type[TrialParams]] = {
    one.name: one
    for one in (ClassifierParams, EnergyParams, OutlierParams, BaselineParams, NordfParams)
}
"""What a recipe's name stands for: the type of its section ``train:``."""


def recipe_class(name: str) -> type[Recipe[TrialParams]]:
    """The class that trains what the recipe ``name`` stands for (KeyError for another name)."""
    module = RECIPES[name].module
    found: type[Recipe[TrialParams]] = getattr(
        import_module(f"study.recipes.{module}"), f"{module.capitalize()}Recipe"
    )
    return found


def make_recipe(
    name: str, train: Mapping[str, Any], frozen: Frozen | None = None
) -> Recipe[TrialParams]:
    """The recipe ``name`` with the section ``train:`` (margins resolved) as its parameters.

    ``frozen`` builds the study's base model, for recipes that look at it; None for none.
    """
    return recipe_class(name)(RECIPES[name].model_validate(train), frozen)
