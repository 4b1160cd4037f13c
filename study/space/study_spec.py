"""A validated study: what a space says, with every default written out."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from study.data.section import DataSection
from study.recipes.catalog import RecipeInfo, get_recipe_info
from study.space.ablation.section import Ablation
from study.space.reading.places import Places
from study.space.reading.sections import BaseSection, ModelSection, SelectSection, TuneSection
from study.space.reading.yamlfile import dump
from study.space.search.search import Search

_OF_A_SEARCH = ("searcher", "num_trials", "seed")  # keys of `tune` that an ablation goes without


@dataclass(frozen=True)
class StudySpec:
    """A validated study.

    Attributes:
        recipe: name of the recipe.
        data: section ``data``.
        model: section ``model``.
        base: section ``base``; None where no base is trained.
        train: every parameter of the recipe that is fixed, in the YAML's form, defaults included.
        search: searched parameters as the YAML names them (``lr``, ``model.dropout``); none in
            an ablation.
        tune: section ``tune``.
        select: section ``select``.
        ablate: section ``ablate``; None where parameters are searched.
        places: where each value came from, for the messages of later checks.
    """

    recipe: str
    data: DataSection
    model: ModelSection
    base: BaseSection | None
    train: dict[str, Any]
    search: dict[str, Search]
    tune: TuneSection
    select: SelectSection
    ablate: Ablation | None = None
    places: Places = field(compare=False, repr=False, default_factory=lambda: Places("spec.yaml"))

    @property
    def info(self) -> RecipeInfo:
        """What is known of the recipe without building it."""
        return get_recipe_info(self.recipe)

    @property
    def own_score(self) -> str:
        """The OOD score that means over OOD sets, and so the selection, are of."""
        return self.info.own_score_of(self.train)

    def resolved(self) -> dict[str, Any]:
        """Plain data with every default written out; ``load_resolved`` of its dump equals this."""
        model = self.model.model_dump()
        for name in self.search:
            if name.startswith("model."):
                del model[name.removeprefix("model.")]
        tune = self.tune.model_dump()
        searched: dict[str, Any] | None = {name: one.plain() for name, one in self.search.items()}
        if self.ablate is not None:
            searched = None
            tune = {key: value for key, value in tune.items() if key not in _OF_A_SEARCH}
        plain: dict[str, Any] = {
            "recipe": self.recipe,
            "data": self.data.model_dump(),
            "model": model,
            "base": None if self.base is None else self.base.model_dump(),
            "train": copy.deepcopy(self.train),
            "search": searched,
            "ablate": None if self.ablate is None else self.ablate.plain(),
            "tune": tune,
            "select": self.select.model_dump(),
        }
        return {key: value for key, value in plain.items() if value is not None}

    def dump(self) -> str:
        """The resolved spec as YAML."""
        return dump(self.resolved())
