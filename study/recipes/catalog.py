"""The recipes by name as far as a YAML needs to know them: no torch is loaded to read one."""

from __future__ import annotations

from dataclasses import dataclass

from study.recipes.params import EnergyParams, TrainParams


@dataclass(frozen=True)
class RecipeInfo:
    """What a space and the run-time flow need to know of a recipe before it is built.

    Attributes:
        name: as in ``recipe:``.
        params: type of the section ``train:``.
        needs_outliers: whether it trains on auxiliary outliers.
        needs_base: whether it starts from a trained classifier, the section ``base:``.
        own_score: the OOD score that ``val/fpr95`` and its kin are of.
        scores: every OOD score that its trials report.
    """

    name: str
    params: type[TrainParams]
    needs_outliers: bool
    needs_base: bool
    own_score: str
    scores: tuple[str, ...]


RECIPE_INFOS: dict[str, RecipeInfo] = {
    info.name: info
    for info in (
        RecipeInfo("cifar10", TrainParams, False, False, "msp", ("msp", "energy")),
        RecipeInfo("energy", EnergyParams, True, True, "energy", ("msp", "energy")),
    )
}


def get_recipe_info(name: str) -> RecipeInfo:
    """The recipe called ``name`` (KeyError, with the names that there are, for another)."""
    try:
        return RECIPE_INFOS[name]
    except KeyError:
        raise KeyError(f"no recipe {name!r}; there are {sorted(RECIPE_INFOS)}") from None
