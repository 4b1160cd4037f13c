"""The section ``search``: which parameters are searched, and over what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic_core import PydanticCustomError

from study.losses.margins import RELATIONS, Margin, parse_reference
from study.recipes.catalog import RecipeInfo
from study.section import Section
from study.space.reading.fields import check_value, elsewhere, takes_kind
from study.space.reading.places import FaultList, nearest
from study.space.reading.sections import BaseSection, ModelSection
from study.space.reading.yamlfile import KeyPath
from study.space.search.domains import (
    FORMS,
    Choice,
    Domain,
    IntUniform,
    MarginSearch,
    parse_domain,
)
from study.space.search.when import Search, add_conditions, split_when

__all__ = [
    "Search",
    "ablatable",
    "is_margin",
    "not_searchable",
    "read_search",
    "searchable",
    "split_name",
]

_MARGIN_FORM = (
    "Write {absolute: {uniform: [-25, -15]}}, or {below: id_energy, sd: {uniform: [0, 6]}}."
)


def is_margin(params: type[Section], name: str) -> bool:
    """Whether a field of a recipe's parameters is a margin."""
    info = params.model_fields.get(name)
    return info is not None and info.metadata == list(_MARGIN_METADATA)


_MARGIN_METADATA = Margin.__metadata__  # type: ignore[attr-defined]


def searchable(info: RecipeInfo) -> dict[str, tuple[type[Section], str]]:
    """Every name that ``search`` takes -> section class and field.

    The backbone can be searched where trials need not start from a base: a study has one base.
    """
    names: dict[str, tuple[type[Section], str]] = {
        name: (info.params, name)
        for name in info.params.model_fields
        if name not in info.params.unsearchable
    }
    names["model.dropout"] = (ModelSection, "dropout")
    if info.base != "start":
        names["model.backbone"] = (ModelSection, "backbone")
    return names


def ablatable(info: RecipeInfo) -> dict[str, tuple[type[Section], str]]:
    """Every name that a level of an ablation sets: what is searchable, and what trials start from.

    Arms may start from bases of their own; only their backbone is one for all.
    """
    names = searchable(info)
    if info.base == "start":
        own = (field for field in BaseSection.model_fields if field not in _ONE_FOR_ALL)
        names |= {f"base.{field}": (BaseSection, field) for field in own}
        names |= {f"model.{field}": (ModelSection, field) for field in _OF_THE_NETWORK}
    return names


_ONE_FOR_ALL = ("backbone", "dropout")
_OF_THE_NETWORK = ("stem", "normalisation", "image_size", "pretrained_on")


def read_search(
    raw: Any, info: RecipeInfo, faults: FaultList, path: KeyPath = ("search",)
) -> dict[str, Search]:
    """The searched parameters, each value of each domain valid for its parameter.

    Args:
        raw: what the YAML has under ``search``; None where it has nothing.
        info: the recipe.
        faults: takes every fault.
        path: where it stands; conditions are those of the section ``search`` alone.

    Returns:
        Name as in the YAML -> what is searched, those without a fault.
    """
    if not isinstance(raw, dict) or not raw:
        way_out = f"Give a parameter a domain, for example lr: {FORMS.split(' or ')[0]}."
        faults.add(path, "a study searches at least one parameter", way_out, raw)
        return {}
    found: dict[str, Search] = {}
    known = searchable(info)
    for name, form in raw.items():
        here = (*path, name)
        if name not in known:
            rule, way_out = not_searchable(name, known)
            faults.add(here, rule, way_out, form)
            continue
        section, field = known[name]
        bare, _, _ = split_when(form)
        entry: Search | None
        if is_margin(section, field):
            entry = _margin(bare, here, faults)
        else:
            entry = _plain(bare, section, field, here, faults)
        if entry is not None:
            found[name] = entry
    return add_conditions(found, raw, faults)


def not_searchable(name: str, known: Mapping[str, Any]) -> tuple[str, str]:
    """Rule and way out for a name that ``searchable`` does not have."""
    prefix, _, rest = name.partition(".")
    if prefix == "train" and rest in known:
        return "parameters of `train` are searched by their bare name", f"Write {rest}."
    if prefix in {"data", "tune", "select", "base", "model", "search"} and rest:
        others = [key for key in known if "." in key]
        way_out = f"Beside the keys of `train`: {', '.join(others)}."
        return "this parameter cannot be searched", way_out
    if f"model.{name}" in known:
        return "parameters of `model` are searched by their dotted name", f"Write model.{name}."
    hint = nearest(name, known)
    if hint.startswith("Known"):
        hint = elsewhere(name, known)
    return "the recipe has no such parameter", hint


def _plain(
    raw: Any, section: type[Section], field: str, path: KeyPath, faults: FaultList
) -> Domain | None:
    domain = parse_domain(raw, path, faults)
    if domain is None:
        return None
    if not isinstance(domain, Choice):
        if not takes_kind(section, field, domain.low):
            whole = not isinstance(domain, IntUniform) and takes_kind(section, field, 1)
            way_out = "Write {int: [1, 8]} or a choice." if whole else "Write {choice: [a, b]}."
            faults.add(path, f"{field} is not searched over such a range", way_out, raw)
            return None
        for end in domain.ends():
            if not check_value(section, field, end, path, faults)[0]:
                return None  # the other end would mostly say the same again
        return domain
    checked = [
        check_value(section, field, value, (*path, "choice", i), faults)
        for i, value in enumerate(domain.values)
    ]
    if not all(good for good, _ in checked):
        return None
    return replace(domain, values=tuple(value for _, value in checked))


def _margin(raw: Any, path: KeyPath, faults: FaultList) -> MarginSearch | None:
    keys = set(raw) if isinstance(raw, dict) else set()
    if "absolute" in keys or not keys & {*RELATIONS, "sd"}:
        if isinstance(raw, dict) and "absolute" in raw:
            for key in raw:
                if key != "absolute":
                    rule = f"an absolute margin has no key {key!r}"
                    faults.add((*path, key), rule, _MARGIN_FORM, raw[key])
                    return None
            raw, path = raw["absolute"], (*path, "absolute")
        elif not isinstance(raw, dict):
            faults.add(path, "a searched margin needs a domain", _MARGIN_FORM, raw)
            return None
        domain = parse_domain(raw, path, faults)
        return _numbers(MarginSearch(None, None, domain), path, faults) if domain else None
    try:
        relation, reference = parse_reference(raw)
    except PydanticCustomError as error:
        context = error.context or {}
        faults.add(path, str(context["rule"]), _MARGIN_FORM, raw)
        return None
    if not isinstance(raw["sd"], dict | list):
        way_out = "Move it to `train`, or give sd a domain such as {uniform: [0, 6]}."
        faults.add((*path, "sd"), "this margin is fixed, there is nothing to search", way_out, raw)
        return None
    path = (*path, "sd")
    domain = parse_domain(raw["sd"], path, faults)
    return _numbers(MarginSearch(relation, reference, domain), path, faults) if domain else None


def _numbers(search: MarginSearch, path: KeyPath, faults: FaultList) -> MarginSearch | None:
    domain = search.domain
    if not isinstance(domain, Choice):
        return search
    for i, value in enumerate(domain.values):
        if isinstance(value, bool) or not isinstance(value, int | float):
            way_out = "Write numbers; one form of margin a study."
            faults.add((*path, "choice", i), "a margin's choices are numbers", way_out, value)
            return None
    values = tuple(float(value) for value in domain.values if value is not None)
    return replace(search, domain=Choice(values))


def split_name(parameter: str) -> tuple[str, str]:
    """Section and field of a parameter: ``lr`` is of ``train``, ``model.dropout`` of ``model``."""
    prefix, dot, rest = parameter.partition(".")
    return (prefix, rest) if dot else ("train", parameter)
