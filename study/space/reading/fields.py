"""Sections against their fields: pydantic finds every fault, here each gets its sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from study.recipes.registry import RECIPES
from study.section import FIELDS_ALONE, Section
from study.space.reading.places import FaultList, nearest, wrong
from study.space.reading.sections import SECTIONS, Told
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
    "finite_number": "a finite number",
}
_NO_SCALARS = {"finite_number", "dict_type", "list_type"}
S = TypeVar("S", bound=Section)


def read_section(
    section: type[S],
    raw: Any,
    path: KeyPath,
    faults: FaultList,
    hint: Callable[[str, Iterable[str]], str] | None = None,
) -> S:
    """A section with the values that are given and valid each by itself; the rest as by default.

    Args:
        section: the section's class.
        raw: what the YAML has there.
        path: where it stands.
        faults: takes every fault.
        hint: the way out for an unknown key, from it and the known ones.
    """
    if not isinstance(raw, dict):
        way_out = f"Write its keys below `{path[-1]}:`, indented, or take the section out."
        faults.add(path, "a section is a mapping of keys", way_out, raw)
        return section()
    try:
        return section.model_validate(raw, context=FIELDS_ALONE)
    except ValidationError as error:
        first = {str(one["loc"][0]): one for one in reversed(_errors(error))}
    for name in [name for name in raw if name in first]:
        if first[name]["type"] == "extra_forbidden":
            rule = f"`{path[-1]}` has no such key"
            way_out = (hint or elsewhere)(name, section.model_fields)
        else:
            rule, way_out = _sentence(first[name], section, name, raw[name])
        faults.add((*path, name), rule, way_out, raw[name])
    good = {name: value for name, value in raw.items() if name not in first}
    return section.model_validate(good, context=FIELDS_ALONE)


def check_value(section: type[S], name: str, value: Any, at: KeyPath = ()) -> S:
    """A section with this value alone.

    Raises:
        Wrong: with the one problem, at ``at``.
    """
    try:
        return section.model_validate({name: value}, context=FIELDS_ALONE)
    except ValidationError as error:
        raise wrong(*_sentence(_errors(error)[0], section, name, value), value, at) from None


def plain_field(section: Section, name: str) -> Any:
    """The value of a field in the YAML's form."""
    return section.model_dump(include={name}).get(name)


def takes_kind(section: type[Section], name: str, value: Any) -> bool:
    """Whether a field takes values of this type, be it beyond the field's bounds."""
    try:
        section.model_validate({name: value}, context=FIELDS_ALONE)
    except ValidationError as error:
        return all(one["type"] in _BOUNDS for one in _errors(error))
    return True


def _errors(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False)


def elsewhere(name: str, known: Iterable[str]) -> str:
    """The way out for an unknown key: its other home, a near name, or what there is."""
    homes = [section for section, fields in SECTIONS.items() if name in fields.model_fields]
    homes = [home for home in homes if home != "base"]
    if homes:
        return f"It belongs in `{homes[0]}`."
    recipes = [one for one, params in RECIPES.items() if name in params.model_fields]
    if len(recipes) == len(RECIPES):
        return "It belongs in `train`."
    if recipes:
        return f"It is a `train` parameter of recipe {' and '.join(recipes)}."
    return nearest(name, known)


def _sentence(
    error: ErrorDetails, section: type[Section], name: str, value: Any
) -> tuple[str, str]:
    """Rule and way out of what pydantic found wrong with a field."""
    kind, context, field = error["type"], error.get("ctx", {}), section.model_fields[name]
    for told in field.metadata:
        if isinstance(told, Told):
            return told.rule, told.way_out
    if kind == "rule":
        return str(context["rule"]), str(context["way_out"])
    if kind in _BOUNDS:
        key, words, way_out = _BOUNDS[kind]
        return f"must be {words} {context[key]:g}", way_out
    if kind == "literal_error":
        choices = [str(one) for one in _choices(field.annotation)]
        hint = nearest(value, choices) if isinstance(value, str) else "Pick one of them."
        return f"must be one of {', '.join(choices)}", hint
    default = field.get_default(call_default_factory=True)
    noun = _TYPES.get(kind)
    if noun is None:
        return error["msg"], f"The default is {default!r}."
    if isinstance(value, str) and noun != "text" and kind not in _NO_SCALARS:
        return f"must be {noun}, and it is text", f"Write {noun}, without quotes."
    return f"must be {noun}", f"Write {noun}; the default is {default!r}."


def _choices(annotation: Any) -> list[Any]:
    """The values of every ``Literal`` inside a type."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for inner in get_args(annotation) for value in _choices(inner)]
