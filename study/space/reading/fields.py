"""One section's values against its fields, key by key, so that every fault is told at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from study.recipes.catalog import RECIPE_INFOS
from study.section import Section
from study.space.reading.places import FaultList, nearest
from study.space.reading.sections import SECTIONS
from study.space.reading.yamlfile import KeyPath

_BOUNDS = {
    "greater_than": ("gt", "above", "Raise it."),
    "greater_than_equal": ("ge", "at least", "Raise it."),
    "less_than": ("lt", "below", "Lower it."),
    "less_than_equal": ("le", "at most", "Lower it."),
}
_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "list_type": "a list",
    "literal_error": "",
    "finite_number": "a finite number",
}


@cache
def _adapter(section: type[Section], name: str) -> TypeAdapter[Any]:
    info = section.model_fields[name]
    annotated: Any = info.annotation
    for constraint in info.metadata:
        annotated = Annotated[annotated, constraint]
    return TypeAdapter(annotated, config=ConfigDict(strict=True, allow_inf_nan=False))


def check_value(
    section: type[Section], name: str, value: Any, path: KeyPath, faults: FaultList
) -> tuple[bool, Any]:
    """One value against one field's own type and bounds.

    Args:
        section: the section's class.
        name: one of its fields.
        value: as read.
        path: where it stands.
        faults: takes the fault, if any.

    Returns:
        Whether it is good, and the value as the field holds it.
    """
    try:
        return True, _adapter(section, name).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        rule, way_out = _sentence(first, section, name, value)
        faults.add(path, rule, way_out, value)
        return False, None


def takes_kind(section: type[Section], name: str, value: Any) -> bool:
    """Whether a field takes values of this type, be it beyond the field's bounds."""
    try:
        _adapter(section, name).validate_python(value)
    except ValidationError as error:
        return all(one["type"] in _BOUNDS for one in error.errors(include_url=False))
    return True


def read_section(
    section: type[Section], raw: Any, path: KeyPath, faults: FaultList
) -> dict[str, Any] | None:
    """The values that a section gives, each valid by itself; defaults are left out.

    Args:
        section: the section's class.
        raw: what the YAML has there.
        path: where it stands.
        faults: takes every fault.

    Returns:
        The good values by field; None where the section is no mapping.
    """
    if not isinstance(raw, dict):
        way_out = f"Write its keys below `{path[-1]}:`, indented, or take the section out."
        faults.add(path, "a section is a mapping of keys", way_out, raw)
        return None
    values = {}
    for name, value in raw.items():
        if name not in section.model_fields:
            rule = f"`{path[-1]}` has no such key"
            faults.add((*path, name), rule, elsewhere(name, section.model_fields), value)
            continue
        good, checked = check_value(section, name, value, (*path, name), faults)
        if good:
            values[name] = checked
    return values


def elsewhere(name: str, known: Mapping[str, Any]) -> str:
    """The way out for an unknown key: its other home, a near name, or what there is."""
    homes = [section for section, fields in SECTIONS.items() if name in fields.model_fields]
    homes = [home for home in homes if home != "base"]
    if homes:
        return f"It belongs in `{homes[0]}`."
    recipes = [info.name for info in RECIPE_INFOS.values() if name in info.params.model_fields]
    if len(recipes) == len(RECIPE_INFOS):
        return "It belongs in `train`."
    if recipes:
        return f"It is a `train` parameter of recipe {' and '.join(recipes)}."
    return nearest(name, known)


def _sentence(
    error: ErrorDetails, section: type[Section], name: str, value: Any
) -> tuple[str, str]:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "rule":
        return str(context["rule"]), str(context["way_out"])
    if kind in _BOUNDS:
        key, words, way_out = _BOUNDS[kind]
        return f"must be {words} {context[key]:g}", way_out
    if kind == "literal_error":
        expected = str(context["expected"])
        choices = [part.strip("' ") for part in expected.replace(" or ", ",").split(",")]
        hint = nearest(value, choices) if isinstance(value, str) else "Pick one of them."
        return f"must be one of {', '.join(choices)}", hint
    noun = _TYPES.get(kind)
    if noun is None:
        return error["msg"], f"The default is {section.model_fields[name].default!r}."
    scalar = kind not in {"finite_number", "dict_type", "list_type"}
    if isinstance(value, str) and noun != "text" and scalar:
        return f"must be {noun}, and it is text", f"Write {noun}, without quotes."
    default = section.model_fields[name].default
    return f"must be {noun}", f"Write {noun}; the default is {default!r}."
