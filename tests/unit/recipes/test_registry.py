from __future__ import annotations

import pytest

from study.recipes.base import CombinesScores, Recipe, TrainingRecipe
from study.recipes.params import TrainParams
from study.recipes.registry import RECIPES, make_recipe, recipe_class
from tests.toys import train_section

NAMES = list(RECIPES)


def test_recipes_are_told_in_this_order() -> None:
    assert NAMES == ["classifier", "energy", "outliers", "baselines", "nordf"]


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_says_what_it_means(name: str) -> None:
    silent = [key for key, one in RECIPES[name].model_fields.items() if not one.description]
    assert not silent


@pytest.mark.parametrize("name", NAMES)
def test_defaults_make_a_recipe_with_its_scores(name: str) -> None:
    margins = {"m_in": -4.0, "m_out": -1.0} if "m_in" in RECIPES[name].model_fields else {}
    recipe = make_recipe(name, margins)
    assert isinstance(recipe, Recipe)
    assert recipe.own_score in recipe.scores
    assert isinstance(recipe, TrainingRecipe) == issubclass(RECIPES[name], TrainParams)
    assert isinstance(recipe, CombinesScores) == (name == "nordf")


def test_energy_and_outliers_are_one_recipe() -> None:
    assert recipe_class("energy") is recipe_class("outliers")
    section = train_section("energy")
    losses = [make_recipe(name, section).loss() for name in ("energy", "outliers")]  # type: ignore[attr-defined]
    assert type(losses[0]) is type(losses[1])
    assert "loss" not in RECIPES["energy"].model_fields


def test_recipe_of_another_name_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="energies"):
        make_recipe("energies", {})
