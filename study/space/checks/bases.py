"""Whether a study trains a base model, and of which backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.recipes.catalog import RecipeInfo
from study.space.ablation.designs import level_path
from study.space.ablation.section import Ablation
from study.space.reading.places import FaultList
from study.space.reading.sections import ModelSection
from study.space.reading.yamlfile import KeyPath
from study.space.search.domains import MarginSearch
from study.space.search.search import Search

_BACKBONE = "model.backbone"
# What a base has with the trials that start from it.
_NETWORK = ("model.stem", "model.normalisation", "model.image_size")


def sets_base(ablate: Ablation | None) -> list[tuple[KeyPath, str]]:
    """Where levels change the base that their arms start from, and which parameter each does."""
    return [
        (level_path(factor, level, name), name)
        for factor in (ablate.factors if ablate else ())
        for level in factor.levels
        for name in level.settings
        if name.startswith("base.") or name in _NETWORK
    ]


def check_bases(
    values: Mapping[str, dict[str, Any]],
    ablate: Ablation | None,
    faults: FaultList,
    *,
    own_base: bool,
) -> None:
    """Arms have bases of their own only where the study trains them, and then no one floor."""
    places = sets_base(ablate)
    for path, name in places if not own_base else ():
        rule = f"{name} is of the base that trials start from, and this study trains none"
        faults.add(path, rule, "Set model.init: base, or take the level out.")
    floor = values["select"].get("floor")
    if own_base and places and floor is not None and floor.kind == "below_base":
        rule = "below_base needs one base as its reference, and these arms start from several"
        way_out = "Write {id_accuracy: {at_least: 0.9}}; at_least: 0 lets everything through."
        faults.add(("select", "floor"), rule, way_out, floor.plain())


def trains_base(
    values: Mapping[str, Mapping[str, Any]],
    info: RecipeInfo,
    search: Mapping[str, Search],
    ablate: Ablation | None,
) -> bool:
    """Whether some trial starts from a base of the study's own, or looks at it.

    Args:
        values: good values by section, ``model.init`` among them.
        info: the recipe.
        search: the searched parameters.
        ablate: the ablation; None where parameters are searched.
    """
    if info.base == "none":
        return False
    if values["model"]["init"] == "base":
        return True
    if info.base != "optional" or info.base_parameter not in info.params.model_fields:
        return False
    return "base" in _possible(info.base_parameter, values, info, search, ablate)


def _possible(
    name: str,
    values: Mapping[str, Mapping[str, Any]],
    info: RecipeInfo,
    search: Mapping[str, Search],
    ablate: Ablation | None,
) -> list[Any]:
    """Values that a parameter of ``train`` can have in the study's trials."""
    searched = search.get(name)
    if searched is not None and not isinstance(searched, MarginSearch):
        return list(searched.ends())
    fixed = values["train"].get(name, info.params.model_fields[name].default)
    return [fixed, *(ablate.values(name) if ablate else [])]


def check_backbone(
    values: Mapping[str, dict[str, Any]],
    search: Mapping[str, Search],
    ablate: Ablation | None,
    faults: FaultList,
) -> None:
    """The base that the study trains has its trials' backbone, or one of its own."""
    model, base = values["model"], values["base"]
    varied = _BACKBONE in search or bool(ablate and ablate.values(_BACKBONE))
    own = model.get("backbone", ModelSection.model_fields["backbone"].default)
    if varied and model["init"] == "base":
        rule = "one base serves all trials, so trials that start from it have its backbone"
        way_out = "Set model.init: random, or vary something else."
        path = ("search", _BACKBONE) if _BACKBONE in search else ("ablate", "factors")
        faults.add(path, rule, way_out)
    elif varied and base.get("backbone") is None:
        rule = "with model.backbone varied the base needs a backbone of its own"
        faults.add(("base", "backbone"), rule, "Add backbone: resnet20 to `base`.")
    elif base.get("backbone") not in (None, own) and model["init"] == "base":
        rule = f"trials that start from the base have its backbone, and theirs is {own}"
        way_out = "Take it out, or set model.init: random."
        faults.add(("base", "backbone"), rule, way_out, base["backbone"])
