"""The network of a space, and what it starts from: names, and settings that would go unused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.data.section import DataSection
from study.models.names import (
    BACKBONES,
    NUM_FEATURES,
    PRETRAINED,
    WITH_STEMS,
    WITHOUT_DROPOUT,
    size_fault,
)
from study.recipes.catalog import RecipeInfo
from study.space.checks.detectors import check_detectors
from study.space.reading.places import FaultList, nearest
from study.space.reading.sections import ModelSection
from study.space.reading.yamlfile import KeyPath
from study.space.search.domains import MarginSearch
from study.space.search.search import Search

_INITS = ("random", "base", "imagenet")
_NATIVE_STRIDE = 32  # of ImageNet's stem and four stages
Values = dict[str, dict[str, Any]]


def check_model(
    values: Mapping[str, Mapping[str, Any]],
    search: Mapping[str, Search],
    info: RecipeInfo,
    faults: FaultList,
) -> None:
    """The backbone, the images that it takes, and what only some backbones have.

    Args:
        values: good values by section, ``model.init`` among them.
        search: the searched parameters; none for an arm of an ablation.
        info: the recipe.
        faults: takes every fault.
    """
    model = values["model"]
    _backbone(model.get("backbone"), search, faults)
    _dropout(model, search, faults)
    _imagenet(values, search, info, faults)
    _stem(values, search, info, faults)
    _image_size(values, search, info, faults)
    _below_features(values, search, info, faults)


def _backbone(name: str | None, search: Mapping[str, Search], faults: FaultList) -> None:
    if name is not None and name not in BACKBONES:
        path: KeyPath = ("model", "backbone")
        faults.add(path, "no backbone has this name", nearest(name, BACKBONES), name)
    searched = search.get("model.backbone")
    if searched is None or isinstance(searched, MarginSearch):
        return
    for i, value in enumerate(searched.ends()):
        if value not in BACKBONES:
            path = ("search", "model.backbone", "choice", i)
            faults.add(path, "no backbone has this name", nearest(str(value), BACKBONES), value)


def _backbones(model: Mapping[str, Any], search: Mapping[str, Search]) -> list[str]:
    """Every backbone that trials have."""
    searched = search.get("model.backbone")
    if searched is not None and not isinstance(searched, MarginSearch):
        return [str(name) for name in searched.ends()]
    return [str(model.get("backbone", ModelSection.model_fields["backbone"].default))]


def _image_size(
    values: Mapping[str, Mapping[str, Any]],
    search: Mapping[str, Search],
    info: RecipeInfo,
    faults: FaultList,
) -> None:
    """Images that the backbones and the losses can take."""
    path, size = _seen_size(values)
    given = _read_size(values)
    if path[0] == "model" and (info.needs_maps or size <= given):
        rule = f"must be above data.image_size, which is {given}: images are enlarged to it"
        if info.needs_maps:
            rule = f"recipe {info.name} needs the maps of the images as they are"
        faults.add(path, rule, "Take it out, or change data.image_size.", size)
    for name in _backbones(values["model"], search):
        told = size_fault(name, size, maps=info.needs_maps) if name in BACKBONES else ""
        if told:
            faults.add(path, told, "Or choose another backbone.", size)
    for field, kinds in info.least_image_size.items():
        searched = search.get(field)
        chosen = values["train"].get(field, info.params.model_fields[field].default)
        domain = None if isinstance(searched, MarginSearch) else searched
        for kind in [chosen] if domain is None else domain.ends():
            if size < kinds.get(str(kind), 0):
                rule = f"must be at least {kinds[str(kind)]} pixels for {field}: {kind}"
                faults.add(path, rule, f"Or choose another {field}.", size)


def _below_features(
    values: Mapping[str, Mapping[str, Any]],
    search: Mapping[str, Search],
    info: RecipeInfo,
    faults: FaultList,
) -> None:
    """What the features must be larger than, such as a subspace of them, in every trial."""
    names = [name for name in _backbones(values["model"], search) if name in NUM_FEATURES]
    if not names:
        return
    narrowest = min(names, key=NUM_FEATURES.__getitem__)
    width = NUM_FEATURES[narrowest]
    check_detectors(values["train"], search, {"num_features": width}, faults)
    for field in info.below_features:
        searched = search.get(field)
        domain = None if isinstance(searched, MarginSearch) else searched
        given = [values["train"].get(field)] if domain is None else domain.ends()
        most = max((int(one) for one in given if one is not None), default=0)
        if most >= width:
            path: KeyPath = ("train", field) if domain is None else ("search", field)
            rule = f"must stay below the {width} features of {narrowest}; what is left over counts"
            faults.add(path, rule, f"Lower it to {width - 1} or less.", most)


def _dropout(model: Mapping[str, Any], search: Mapping[str, Search], faults: FaultList) -> None:
    without = [name for name in _backbones(model, search) if name in WITHOUT_DROPOUT]
    if not without or not (model.get("dropout") or "model.dropout" in search):
        return
    path: KeyPath = (
        ("search", "model.dropout") if "model.dropout" in search else ("model", "dropout")
    )
    shown = [model["dropout"]] if "dropout" in model else []
    rule = f"{', '.join(without)} has no dropout, so this would go unused"
    able = [name for name in BACKBONES if name not in WITHOUT_DROPOUT]
    way_out = f"Take it out, or choose one of {', '.join(able)}."
    faults.add(path, rule, way_out, *shown)


def check_init(init: str, info: RecipeInfo, faults: FaultList, *, check_paths: bool) -> None:
    """What trials start from must be there, and be of use to the recipe."""
    path: KeyPath = ("model", "init")
    if init == "base" and info.base == "none":
        rule = f"recipe {info.name} trains no base to start from"
        faults.add(path, rule, "Write random, or the path of a weights file.", init)
    elif init not in _INITS and check_paths and not _is_file(init):
        rule = (
            "must be random, base, imagenet, or the path of a weights file, and there is no "
            "such file"
        )
        faults.add(path, rule, nearest(init, _INITS), init)


def _imagenet(
    values: Mapping[str, Mapping[str, Any]],
    search: Mapping[str, Search],
    info: RecipeInfo,
    faults: FaultList,
) -> None:
    """ImageNet's weights are of the backbone alone, and not every backbone has them."""
    model = values["model"]
    if model["init"] not in ("imagenet", "random"):
        return
    path: KeyPath = ("model", "init")
    if not info.trains and values["train"].get("head", "trained") == "trained":
        rule = f"recipe {info.name} scores a trained classifier, and this init has no head for"
        way_out = "Train a base on CIFAR-10 first (model.init: base), or set train.head: none."
        faults.add(path, f"{rule} these classes", way_out, model["init"])
        return
    if not info.fine_tunes(values["train"]):
        rule = "with fine_tune: none a trained classifier is scored, and this init has no head for"
        way_out = "Set model.init: base; base.fine_tune: linear trains nothing but the head."
        faults.add(path, f"{rule} these classes", way_out, model["init"])
        return
    if model["init"] == "random":
        return
    names = _backbones(model, search)
    without = [one for one in names if one in BACKBONES and one not in PRETRAINED]
    if without:
        rule = f"{', '.join(without)} has no ImageNet weights"
        faults.add(path, rule, f"These have them: {', '.join(PRETRAINED)}.", "imagenet")


def _stem(
    values: Mapping[str, Mapping[str, Any]],
    search: Mapping[str, Search],
    info: RecipeInfo,
    faults: FaultList,
) -> None:
    """ImageNet's stem is of the ResNets that have one, and of images that it leaves maps of."""
    if values["model"].get("stem", "small") == "small":
        return
    path: KeyPath = ("model", "stem")
    others = [one for one in _backbones(values["model"], search) if one not in WITH_STEMS]
    at, size = _seen_size(values)
    if others:
        rule = f"{', '.join(others)} has one stem only"
        way_out = f"Take it out, or choose {' or '.join(WITH_STEMS)}."
        faults.add(path, rule, way_out, "imagenet")
    elif info.needs_maps:
        rule = f"recipe {info.name} needs the maps of the small stem"
        faults.add(path, rule, "Take it out.", "imagenet")
    elif size < _NATIVE_STRIDE:
        rule = f"must be at least {_NATIVE_STRIDE} pixels for stem: imagenet"
        faults.add(at, rule, "Or set model.stem: small.", size)


def _read_size(values: Mapping[str, Mapping[str, Any]]) -> int:
    default = DataSection.model_fields["image_size"].default
    return int(values["data"].get("image_size", default))


def _seen_size(values: Mapping[str, Mapping[str, Any]]) -> tuple[KeyPath, int]:
    """The key that says how large the images are that the backbone sees, and its pixels."""
    if values["model"].get("image_size") is not None:
        return ("model", "image_size"), int(values["model"]["image_size"])
    return ("data", "image_size"), _read_size(values)


def _is_file(name: str) -> bool:
    return "\0" not in name and len(name) < 4096 and Path(name).is_file()


def check_init_of_base(
    values: Values, faults: FaultList, *, own_base: bool, check_paths: bool
) -> None:
    """What the base's training starts from must be there."""
    init = values["base"].get("init", "random")
    path: KeyPath = ("base", "init")
    backbone = values["base"].get("backbone") or values["model"].get("backbone", "resnet20")
    if not own_base or init == "random":
        return
    if init == "imagenet" and backbone in BACKBONES and backbone not in PRETRAINED:
        rule = f"{backbone} has no ImageNet weights"
        faults.add(path, rule, f"These have them: {', '.join(PRETRAINED)}.", init)
    elif init != "imagenet" and check_paths and not _is_file(init):
        rule = "must be random, imagenet, or the path of a weights file, and there is no such file"
        faults.add(path, rule, nearest(init, ("random", "imagenet")), init)


def check_base(
    data: Mapping[str, Any],
    values: Values,
    info: RecipeInfo,
    search: Mapping[str, Search],
    faults: FaultList,
    *,
    own_base: bool,
    check_paths: bool,
) -> None:
    """The section ``base`` must have an effect, and a network of its own where it needs one."""
    if "base" in data and not own_base:
        reason = "the recipe has no base" if info.base == "none" else "no trial uses one"
        way_out = "Take the section out, or set model.init: base with a recipe that has a base."
        faults.add(("base",), f"the section has no effect here: {reason}", way_out)
    name = values["base"].get("backbone")
    check_init_of_base(values, faults, own_base=own_base, check_paths=check_paths)
    given = data.get("base")
    if isinstance(given, dict) and "backbone" in given and name not in (None, *BACKBONES):
        path: KeyPath = ("base", "backbone")
        faults.add(path, "no backbone has this name", nearest(str(name), BACKBONES), name)
    if own_base and "model.dropout" in search and values["base"].get("dropout") is None:
        rule = "one base serves all trials, so with model.dropout searched it needs its own"
        faults.add(("base", "dropout"), rule, "Add dropout: 0.0 to `base`.")
