"""The one way to declare a parameter.

It is declared once, with its default, its bounds and what it means: in a class of parameters by
`parameter`, and in a file that needs torch (a backbone, a detector, a loss) as a literal of the
keys of `Parameter`, which is read and not imported (`study.literals`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from study.errors import Fault
from study.literals import NAME, STRICT, Declaration

_TYPES: Final = {"bool": bool, "int": int, "float": float, "str": str}
_NOUNS: Final = {"bool": "true or false", "int": "an integer", "float": "a number"}
_BOUNDS: Final = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def parameter(
    default: Any,
    *,
    meaning: str,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    null: str = "",
    when: Mapping[str, Sequence[Any]] | None = None,
) -> Any:
    """A field of a class of parameters, whose annotation is its type.

    Args:
        default: the value where none is given.
        meaning: what it is, with its unit.
        ge: at least this; as gt (above), le (at most) and lt (below), of numbers.
        gt: see ge.
        le: see ge.
        lt: see ge.
        null: what null means, where the type allows it.
        when: other fields, and the values of theirs under which this one has an effect.
    """
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    return _field(default, meaning, null, when or {}, bounds)


def with_default(section: type[BaseModel], name: str, default: Any) -> Any:
    """A field declared as in another class, but for its default."""
    field = section.model_fields[name]
    bounds = {
        key: getattr(one, key) for one in field.metadata for key in _BOUNDS if hasattr(one, key)
    }
    told: Any = field.json_schema_extra or {}
    return _field(default, field.description or "", told.get("null", ""), when_of(field), bounds)


def when_of(field: FieldInfo) -> Mapping[str, Sequence[Any]]:
    """Under which values of which other fields a declared field has an effect; empty: all."""
    told: Any = field.json_schema_extra or {}
    when: Mapping[str, Sequence[Any]] = told.get("when", {})
    return when


def _field(
    default: Any,
    meaning: str,
    null: str,
    when: Mapping[str, Sequence[Any]],
    bounds: Mapping[str, float | None],
) -> FieldInfo:
    told: dict[str, Any] = {"null": null} if null else {}
    if when:
        told["when"] = {name: list(values) for name, values in when.items()}
    kept: dict[str, Any] = {key: bound for key, bound in bounds.items() if bound is not None}
    made: FieldInfo = Field(
        default=default, description=meaning or None, json_schema_extra=told or None, **kept
    )
    return made


class Parameter(BaseModel):
    """A declared parameter.

    Attributes:
        default: true or false, a whole number, a number, a text or null; it says the type.
        type: bool, int, float or str, where the default does not say it.
        ge: of numbers, at least this; as gt, le and lt.
        gt: above.
        le: at most.
        lt: below.
        choices: of texts, all that there are.
        null: what null means; empty where it is refused.
        meaning: what it is, with its unit.
        when: other fields, and the values of theirs under which this one has an effect.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, **STRICT)

    default: Any
    type: Literal["bool", "int", "float", "str"] | None = None
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: list[str] | None = None
    null: str = ""
    meaning: str = ""
    when: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}

    def field(self, *, unset: bool = False) -> tuple[Any, FieldInfo]:
        """The type, and the field with its bounds and default.

        Args:
            unset: whether the field is null by default, which stands for the default here.
        """
        kind: Any = Literal[tuple(self.choices)] if self.choices else _TYPES[self.kind]
        if self.null or unset:
            kind = kind | None
        default = None if unset else self.default
        return kind, _field(default, self.meaning, self.null, self.when, self._bounds)

    @property
    def kind(self) -> str:
        """Name of the type of its values."""
        return self.type or type(self.default).__name__

    def fits(self, value: Any) -> bool:
        """Whether ``value`` is of the type and inside the bounds."""
        try:
            self._adapter.validate_python(value)
        except ValidationError:
            return False
        return True

    @property
    def rule(self) -> str:
        """What must hold of a value, for a message."""
        null = f" (null: {self.null})" if self.null else ""
        if self.choices:
            return f"must be one of {self.choices}{null}"
        bounds = " and".join(f" {_BOUNDS[key]} {bound:g}" for key, bound in self._bounds.items())
        return f"must be {_NOUNS[self.kind]}{bounds}{null}"

    def same(self, other: Parameter) -> bool:
        """Whether another is declared alike, its type too, whatever is said of its meaning."""
        one, two = (each.model_copy(update={"meaning": ""}) for each in (self, other))
        return one == two and self.kind == other.kind

    def told(self) -> dict[str, Any]:
        """What is declared, without what is left out."""
        return self.model_dump(exclude_unset=True)

    @property
    def _bounds(self) -> dict[str, float]:
        given = ((key, getattr(self, key)) for key in _BOUNDS)
        whole = self.kind == "int"
        return {
            key: int(bound) if whole and bound.is_integer() else bound
            for key, bound in given
            if bound is not None
        }

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        kept: Any = Annotated[self.field()]
        return TypeAdapter(kept, config=STRICT)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        for rule in self._broken():
            raise PydanticCustomError("declared", "{rule}", {"rule": rule})
        return self

    def _broken(self) -> Iterator[str]:
        if self.default is None and (self.type is None or not self.null):
            yield "a default of null needs `type`, and `null`, which says what null means"
        elif self.kind not in _TYPES:
            yield "a default is true, false, a number or a text, or null with its `type`"
        if (self.kind == "str") != bool(self.choices):
            yield "a text has choices, and nothing else has"
        if len({*(self.choices or ())}) < len(self.choices or ()):
            yield "each of choices is named once"
        if self._bounds and self.kind not in ("int", "float"):
            yield "only numbers have bounds"
        if self.kind == "int" and any(isinstance(bound, float) for bound in self._bounds.values()):
            yield "bounds of a whole number are whole"
        try:
            self._adapter.validate_python(self.default)
        except ValidationError as error:
            yield f"its own default breaks it: {error.errors()[0]['msg']}"


def unlike_parameters(declarations: Mapping[str, Any]) -> Iterator[Fault]:
    """Parameters that two declarations have in two ways, and names that none can have.

    Args:
        declarations: by name, each with its ``parameters``.
    """
    first: dict[str, Any] = {}
    for declared in declarations.values():
        for name, parameter in declared.parameters.items():
            other = first.setdefault(name, declared)
            if fault := misnamed(declared, name, name):
                yield fault
            elif not other.parameters[name].same(parameter):
                rule = f"{other.file} declares this parameter otherwise"
                way_out = "Declare it alike in both, or give it another name."
                yield declared.fault(("parameters", name), rule, way_out, parameter.told())


def misnamed(declared: Declaration, name: str, field: str) -> Fault | None:
    """What is wrong with a parameter's name, as the name of a field too."""
    if not NAME.fullmatch(name):
        rule = "a parameter is named by small letters, digits and _"
    elif hasattr(BaseModel, field):
        rule = f"{field} is a name that no parameter can have"
    else:
        return None
    return declared.fault(("parameters", name), rule, "Rename it.")


def by_parameter(declarations: Mapping[str, Any]) -> dict[str, tuple[Parameter, list[str]]]:
    """Every parameter of some declarations, and the names of those that have it.

    Args:
        declarations: by name, each with its ``parameters``; none unlike (`unlike_parameters`).
    """
    found: dict[str, tuple[Parameter, list[str]]] = {}
    for name, declared in declarations.items():
        for key, parameter in declared.parameters.items():
            found.setdefault(key, (parameter, []))[1].append(name)
    return found
