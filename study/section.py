"""What every section of a space is: strict, immutable fields, and rules over several of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from study.declared import when_of
from study.errors import Fault

FIELDS_ALONE: Final[dict[str, Any]] = {}
"""As the context of ``model_validate``: each field by itself, the rules over several later."""


@dataclass(frozen=True)
class Rule:
    """What several fields must satisfy together.

    Attributes:
        fields: the fields that ``holds`` takes, in order; the first is the one to blame. The
            rule is monotone in each numeric field, so checking the ends of ranges is enough.
        holds: whether values are good.
        text: the rule in words.
        way_out: what to do where it is broken.
        has_effect: the rule says when a field has an effect; it is enough that it holds
            somewhere in a search, and a single trial may break it.
    """

    fields: tuple[str, ...]
    holds: Callable[..., bool]
    text: str
    way_out: str
    has_effect: bool = False


def effect_rule(
    name: str, default: Any, other: str, values: Sequence[Any], without: str = ""
) -> Rule:
    """A field other than its default has an effect under some values of another field alone.

    Args:
        name: the field.
        default: what it is where none is given.
        other: the other field.
        values: the values of that one.
        without: how the sentence about no effect goes on; by default it names the values.
    """
    told = " or ".join(_plain(value) for value in values)
    return Rule(
        (name, other),
        lambda value, chosen: value == default or chosen in values,
        f"{name} has no effect {without or f'without {other}: {told}'}",
        f"Take {name} out, or choose {other}: {_plain(values[0])}.",
        has_effect=True,
    )


def effect_rules(fields: Mapping[str, FieldInfo]) -> tuple[Rule, ...]:
    """The rules that follow from each field's ``when``, told by whichever values are fewer."""
    found = []
    for name, field in fields.items():
        for other, values in when_of(field).items():
            rule = effect_rule(name, field.default, other, values)
            kind = fields[other].annotation if other in fields else None
            every = get_args(kind) if get_origin(kind) is Literal else ()
            void = [one for one in every if one not in values]
            if void and len(void) < len(values):
                text = f"{name} has no effect with {other}: {' or '.join(map(_plain, void))}"
                way_out = f"Take {name} out, or choose another {other}."
                rule = replace(rule, text=text, way_out=way_out)
            found.append(rule)
    return tuple(found)


def _plain(value: Any) -> str:
    """A value as a YAML has it."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def broken_rule(rule: str, way_out: str) -> PydanticCustomError:
    """The error of a value that breaks a rule; rule and way out stand in its context too."""
    return PydanticCustomError("rule", "{rule}. {way_out}", {"rule": rule, "way_out": way_out})


class Section(BaseModel):
    """Base of every section of a space: strict types, no unknown keys, no NaN, immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """Over several fields; what a field's ``when`` says joins them, unless one says it already."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Add the rules that follow from the fields' ``when``."""
        told = {rule.fields for rule in cls.rules if rule.has_effect}
        # A declaration's own names, such as a detector's, need not be fields of these names.
        follow = (
            one for one in effect_rules(cls.model_fields) if one.fields[1] in cls.model_fields
        )
        cls.rules = (*cls.rules, *(rule for rule in follow if rule.fields not in told))

    @model_validator(mode="after")
    def _keep_rules(self, info: ValidationInfo) -> Self:
        for rule in () if info.context is FIELDS_ALONE else self.rules:
            values = [getattr(self, name) for name in rule.fields]
            if not rule.has_effect and not rule.holds(*values):
                raise broken_rule(rule.text, rule.way_out)
        return self


def taken_names(section: type[Section], module: str) -> set[str]:
    """Names of all that a section has, but for what it has from the classes of a module."""
    found: set[str] = set()
    for base in section.__mro__:
        if base.__module__ != module:
            found |= {*vars(base), *vars(base).get("__annotations__", ())}
    return found


def unfit_parameters(
    section: type[Section],
    declarations: Mapping[str, Any],
    taken: set[str],
    rule: str,
    way_out: str = "Choose another name.",
) -> Iterator[Fault]:
    """Parameters of files that cannot be fields of a section.

    Args:
        section: the section.
        declarations: what the files declare, by name, each with its ``parameters``.
        taken: names that are something else there.
        rule: what is told of such a parameter, with its ``{name}``.
        way_out: the same.
    """
    known = {*section.model_fields, *(n for one in declarations.values() for n in one.parameters)}
    for declared in declarations.values():
        for name, parameter in declared.parameters.items():
            place = ("parameters", name)
            if name in taken:
                yield declared.fault(place, rule.format(name=name), way_out)
            for other in {*parameter.when} - known:
                told = f"there is no key {other} in `train`"
                yield declared.fault((*place, "when"), told, "Mend the name.")
