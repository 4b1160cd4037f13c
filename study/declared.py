"""How a parameter is declared, and how declarations are read from files that bring torch.

A parameter is declared once, with its default, its bounds and what it means: in a class of
parameters by `parameter`, and in a file that needs torch (a backbone, a detector, a loss) as a
literal of the keys of `Parameter`. A YAML is checked without torch, so such files are read and not
imported: `read_literals`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from study.errors import NO_VALUE, BadInput, Fault
from study.plugins import files_declaring

NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
"""What a declared name looks like."""

_TYPES: Final = {"bool": bool, "int": int, "float": float, "str": str}
_NOUNS: Final = {"bool": "true or false", "int": "an integer", "float": "a number"}
_BOUNDS: Final = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_STRICT: Final = ConfigDict(strict=True, allow_inf_nan=False)


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

    model_config = ConfigDict(extra="forbid", frozen=True, **_STRICT)

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
        return TypeAdapter(kept, config=_STRICT)

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


class Declaration(BaseModel):
    """Base of what a file declares in its literal; a subclass has the keys.

    A field's description says in words what its values must be, where pydantic's would not do.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, **_STRICT)

    noun: ClassVar[str] = "thing"
    """What is declared, for messages."""

    defines: ClassVar[Mapping[str, str]] = {}
    """Classes and functions that the file must have, and how each is written."""

    requires: tuple[str, ...] = Field(default=(), strict=False)
    """Modules that it needs and that few studies need, so that they may not be installed."""

    _file: Path = PrivateAttr(default=Path())
    _key: str = PrivateAttr(default="")
    _lines: dict[tuple[str, ...], int] = PrivateAttr(default_factory=dict)

    @property
    def file(self) -> Path:
        """Where it stands."""
        return self._file

    def must_define(self) -> Mapping[str, str]:
        """As ``defines``, where that depends on what is declared."""
        return self.defines

    def fault(
        self, path: Sequence[str], rule: str, way_out: str = "", value: Any = NO_VALUE
    ) -> Fault:
        """What is wrong at a key of the literal, with its file and line."""
        key = ".".join([self._key, *path])
        line = self._lines.get(tuple(path), self._lines.get(()))
        return Fault(str(self._file), key, rule, way_out, value, line)


D = TypeVar("D", bound=Declaration)


def read_literals(
    folders: Iterable[str | Path],
    literal: str,
    model: type[D],
    *,
    several: bool = False,
    first: Sequence[str] = (),
    together: Callable[[Mapping[str, D]], Iterable[Fault]] = lambda _: (),
) -> dict[str, D]:
    """What the files of some folders declare, read without running them.

    Files whose names begin with ``_`` are none of these; the user's plugins that set the literal
    are.

    Args:
        folders: where the files stand; of two files of one name the first folder's counts.
        literal: the name that each file sets, once and at its top level, to a literal.
        model: what the literal must be.
        several: whether the literal is a mapping of names to declarations, and files without it
            are left alone; else each file is one declaration, under the file's name.
        first: names that come before the others, in this order.
        together: faults that the declarations have beside each other.

    Returns:
        The declarations by name; beyond ``first`` in the order of files and of each literal.

    Raises:
        BadInput: with every fault of every file.
    """
    files: dict[str, Path] = {}
    for folder in folders:
        for path in Path(folder).glob("[!_.]*.py"):
            files.setdefault(path.stem, path)
    files |= {path.stem: path for path in files_declaring(literal)}
    found: dict[str, D] = {}
    faults: list[Fault] = []
    for _, path in sorted(files.items()):
        for name, one in _File(path, literal, model, faults).declarations(several=several):
            if name in found:
                rule = f"{name} is declared already, in {found[name].file}"
                faults.append(one.fault((), rule, "Give one of the two another name."))
            found.setdefault(name, one)
    known = [name for name in first if name in found]
    found = {name: found[name] for name in (*known, *(n for n in found if n not in first))}
    faults += together(found)
    if faults:
        raise BadInput(faults)
    return found


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


class _Wrong(Exception):
    """A part of a literal that is wrong: the arguments of `_File.tell`."""


_Entry = tuple[str, str, ast.expr]  # a declaration's name, its key in messages, its literal


class _File:
    """One file's declarations; what is wrong with them is added to the faults."""

    def __init__(
        self, path: Path, literal: str, model: type[Declaration], faults: list[Fault]
    ) -> None:
        self.path, self.literal, self.model, self.faults = path, literal, model, faults
        self.layout = f"Write {literal} as the files beside it do."
        self.naming = f"a {model.noun} is named by small letters, digits and _"

    def tell(
        self, key: str, line: int | None, rule: str, way_out: str, value: Any = NO_VALUE
    ) -> None:
        self.faults.append(Fault(str(self.path), key, rule, way_out, value, line))

    def declarations(self, *, several: bool) -> Iterator[tuple[str, Any]]:
        """Name and declaration, of those that are right."""
        try:
            text = self.path.read_text(encoding="utf-8")
            if several and not re.search(rf"^{self.literal}\b", text, re.MULTILINE):
                return
            module = ast.parse(text)
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            line = error.lineno if isinstance(error, SyntaxError) else None
            self.tell("", line, f"this is no Python: {error}", "Mend it.")
            return
        there = {getattr(node, "name", "") for node in module.body}
        nodes = [node for statement in module.body for node in self._set_to(statement)]
        for name, key, node in self._several(nodes) if several else self._single(nodes, there):
            try:
                one = self._declaration(key, node)
            except _Wrong as wrong:
                self.tell(*wrong.args)
            except ValidationError as error:
                self._tell_each(error, key, _lines(node))
            else:
                if several:
                    owner = f"a file that declares a {self.model.noun}"
                    self._check_defined(there, one.must_define(), owner, ".", key, node.lineno)
                yield name, one

    def _set_to(self, statement: ast.stmt) -> Iterator[ast.expr]:
        """What a statement sets the literal's name to."""
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        value = getattr(statement, "value", None)
        named = any(isinstance(one, ast.Name) and one.id == self.literal for one in targets)
        if named and value is not None:
            yield value

    def _single(
        self, nodes: list[ast.expr], there: set[str]
    ) -> Iterator[tuple[str, str, ast.expr]]:
        """The file's one declaration, under its own name."""
        if not NAME.fullmatch(self.path.stem):
            self.tell("", None, self.naming, "Rename the file.", self.path.stem)
        folder = "a file of this folder"
        way_out = ", or let the file's name begin with _."
        self._check_defined(there, self.model.defines, folder, way_out)
        if len(nodes) == 1:
            yield self.path.stem, self.literal, nodes[0]
            return
        rule = f"{folder} declares its {self.model.noun}: {self.literal} is set once, to a literal"
        self.tell(self.literal, nodes[1].lineno if nodes else None, rule, self.layout)

    def _several(self, nodes: list[ast.expr]) -> Iterator[_Entry]:
        """Every declaration of the file; entry by entry, where a dict keeps the last of a name."""
        for node in nodes:
            if not isinstance(node, ast.Dict):
                rule = f"a dict of each {self.model.noun}'s name and what it is, written out"
                self.tell(self.literal, node.lineno, rule, self.layout)
                continue
            for key, value in zip(node.keys, node.values, strict=True):
                try:
                    name = self._plain(key, value.lineno, self.literal)
                    if not isinstance(name, str) or not NAME.fullmatch(name):
                        raise _Wrong(self.literal, value.lineno, self.naming, "Rename it.", name)
                    yield name, f"{self.literal}.{name}", value
                except _Wrong as wrong:
                    self.tell(*wrong.args)

    def _check_defined(
        self,
        there: set[str],
        needed: Mapping[str, str],
        owner: str,
        end: str,
        key: str = "",
        line: int | None = None,
    ) -> None:
        for name, form in needed.items():
            if name not in there:
                kind = "class" if form.startswith("class ") else "function"
                self.tell(key, line, f"{owner} has a {kind} {name}", f"Write {form}{end}")

    def _declaration(self, key: str, node: ast.expr) -> Declaration:
        value = self._value(node, key)
        if not isinstance(value, dict):
            raise _Wrong(key, node.lineno, "a declaration is a dict", self.layout, value)
        one = self.model.model_validate(value)
        one._file, one._key, one._lines = self.path, key, _lines(node)
        return one

    def _value(self, node: ast.expr, key: str) -> Any:
        if not isinstance(node, ast.Dict):
            return self._plain(node, node.lineno, key)
        found: dict[str, Any] = {}
        for key_node, value in zip(node.keys, node.values, strict=True):
            name = self._plain(key_node, value.lineno, key)
            if not isinstance(name, str) or name in found:
                rule = "stands here twice" if name in found else "is no text, as a key must be"
                raise _Wrong(key, value.lineno, f"{name!r} {rule}", "Take it out.")
            found[name] = self._value(value, f"{key}.{name}")
        return found

    def _plain(self, node: ast.expr | None, line: int, key: str) -> Any:
        way_out = "Write out what ** stands for."
        if node is not None:
            try:
                return ast.literal_eval(node)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                way_out = f"Write out {ast.unparse(node)}."
        rule = f"{self.literal} is read without running the file, so it holds plain values alone"
        raise _Wrong(key, line, rule, way_out)

    def _tell_each(
        self, error: ValidationError, key: str, lines: Mapping[tuple[str, ...], int]
    ) -> None:
        told = set()
        for one in error.errors(include_url=False):
            where = tuple(str(part) for part in one["loc"])
            # Beyond the literal's own keys pydantic adds the types that it tried.
            known = next(where[:n] for n in range(len(where), -1, -1) if where[:n] in lines)
            missing = one["type"] == "missing"
            place, value = (where, NO_VALUE) if missing else (known, one["input"])
            if place not in told:
                told.add(place)
                self.tell(".".join([key, *place]), lines[known], *self._words(one, place), value)

    def _words(self, error: ErrorDetails, where: tuple[str, ...]) -> tuple[str, str]:
        """The rule that is broken, and the way out."""
        model: type[BaseModel] = self.model
        for part in where[:-1]:
            field = model.model_fields.get(part)
            model = model if field is None else _model_in(field.annotation) or model
        if error["type"] == "extra_forbidden":
            shared = Declaration.model_fields if issubclass(model, Declaration) else {}
            own = [name for name in model.model_fields if name not in shared]
            return "there is no such key", f"There are {', '.join([*own, *shared])}."
        if error["type"] == "missing":
            return "this key is required", self.layout
        field = model.model_fields.get(where[-1]) if where else None
        if field is not None and field.description:
            return field.description, self.layout
        return error["msg"], self.layout


def _lines(node: ast.expr, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
    """Where each key of a literal stands."""
    found = {path: node.lineno}
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant):
                at = (*path, str(key.value))
                found |= {**_lines(value, at), at: key.lineno}
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field's value is, or holds by name."""
    parts = (annotation, *get_args(annotation))
    models = (part for part in parts if isinstance(part, type) and issubclass(part, BaseModel))
    return next(models, None)
