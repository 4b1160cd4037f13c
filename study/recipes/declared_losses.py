"""What the files of ``study/recipes/outlier_losses`` declare, read without importing them.

A loss's file brings torch, and a YAML is checked without. So its ``DECLARED`` is a literal: read
from the source, checked, and made into the parameters of the recipe ``outliers``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from study.errors import BadInput, Fault
from study.recipes import outlier_losses

SHIPPED = (
    "outlier_exposure",
    "energy_margins",
    "energy_logistic",
    "balanced_energy",
    "gradient_regularisation",
    "distributional",
)
"""Losses whose parameters every resolved spec has, in this order; other files come after."""

_CONFIG = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LAYOUT = "Write DECLARED = {}, or as the files beside it do."


class Parameter(BaseModel):
    """One parameter of a loss.

    Attributes:
        default: true or false, a whole number, a number or a text; it says the type.
        ge: of numbers, at least this; as gt, le and lt.
        gt: above.
        le: at most.
        lt: below.
        choices: of texts, all that there are.
    """

    model_config = _CONFIG

    default: Any
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: list[str] | None = None

    def field(self) -> tuple[Any, FieldInfo]:
        """The type, and the field with its bounds and default."""
        kind: Any = type(self.default)
        if self.choices is not None:
            kind = Literal[tuple(self.choices)]
        return kind, Field(default=self.default, **self._bounds())

    def same(self, other: Parameter) -> bool:
        """Whether another is declared alike, its type too."""
        return self == other and type(self.default) is type(other.default)

    def _bounds(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in ("ge", "gt", "le", "lt")}
        whole = type(self.default) is int
        return {
            name: int(value) if whole and value.is_integer() else value
            for name, value in given.items()
            if value is not None
        }

    @model_validator(mode="after")
    def _fits(self) -> Self:
        kind = type(self.default)
        if kind not in (bool, int, float, str):
            raise PydanticCustomError("declared", "a default is true, false, a number or a text")
        if (kind is str) != bool(self.choices):
            raise PydanticCustomError("declared", "a text has choices, and nothing else has")
        if self._bounds() and kind not in (int, float):
            raise PydanticCustomError("declared", "only numbers have bounds")
        kept: Any = Annotated[self.field()]
        try:
            TypeAdapter(kept, config=_STRICT).validate_python(self.default)
        except ValidationError as error:
            told = {"why": error.errors()[0]["msg"]}
            raise PydanticCustomError(
                "declared", "its own default breaks it: {why}", told
            ) from None
        return self


class Declared(BaseModel):
    """What a loss's file declares; every key may be left out.

    Attributes:
        margins: whether the loss has margins: its class takes m_in and m_out, in nats.
        linear: whether it trains the last layer alone too (``fine_tune: linear``, where the
            batches are features); else a text that says why not, told after the loss's name.
        parameters: name -> default and bounds. Losses may share a parameter.
    """

    model_config = _CONFIG

    margins: bool = False
    linear: Literal[True] | Annotated[str, Field(min_length=1)] = True
    parameters: dict[str, Parameter] = {}


def declared_losses() -> Mapping[str, Declared]:
    """Every loss of the room by name.

    Raises:
        BadInput: naming each file and what is wrong with its declaration.
    """
    return _read(tuple(outlier_losses.__path__))


def declaring(name: str) -> tuple[str, ...]:
    """The losses that have a parameter."""
    return tuple(loss for loss, one in declared_losses().items() if name in one.parameters)


@cache
def _read(folders: tuple[str, ...]) -> Mapping[str, Declared]:
    files: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(Path(folder).glob("*.py")):
            if not path.name.startswith("_"):
                files.setdefault(path.stem, path)
    order = {name: place for place, name in enumerate(SHIPPED)}
    names = sorted(files, key=lambda name: (order.get(name, len(order)), name))
    faults: list[Fault] = []
    read = {name: _declared(files[name], faults) for name in names}
    losses = {name: one for name, one in read.items() if one is not None}
    faults += _unlike(losses, files)
    if faults:
        raise BadInput(faults)
    return losses


def _declared(path: Path, faults: list[Fault]) -> Declared | None:
    """A file's declaration; None, with what is wrong with it among the faults."""
    before = len(faults)
    if not _NAME.fullmatch(path.stem):
        rule = "a loss is named by small letters, digits and _"
        faults.append(Fault(str(path), "", rule, "Rename the file.", path.stem))
    try:
        module = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        faults.append(Fault(str(path), "", f"this is no Python: {error}", "Mend it."))
        return None
    classes = (node.name for node in module.body if isinstance(node, ast.ClassDef))
    if "Loss" not in classes:
        rule = "a file of this folder has a class Loss"
        way_out = "Write class Loss(OutlierLoss), or let the file's name begin with _."
        faults.append(Fault(str(path), "", rule, way_out))
    value = _literal(module)
    if value is None:
        rule = "a file of this folder declares its loss: DECLARED is set once, to a literal"
        faults.append(Fault(str(path), "DECLARED", rule, _LAYOUT))
        return None
    try:
        declared = Declared.model_validate(ast.literal_eval(value))
    except ValidationError as error:
        faults += _told(error, path, value.lineno)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        rule = "DECLARED is read without running the file, so it holds plain values alone"
        faults.append(Fault(str(path), "DECLARED", rule, _LAYOUT, line=value.lineno))
    return declared if len(faults) == before else None


def _literal(module: ast.Module) -> ast.expr | None:
    """What DECLARED is set to at the module's level, where that is done once."""
    found = []
    for node in module.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(one, ast.Name) and one.id == "DECLARED" for one in targets):
            found.append(node.value)  # type: ignore[attr-defined]
    return found[0] if len(found) == 1 else None


def _told(error: ValidationError, path: Path, line: int) -> Iterator[Fault]:
    told = set()
    for one in error.errors(include_url=False):
        where = [str(part) for part in one["loc"]]
        key = ".".join(["DECLARED", *(where[:3] if where[:1] == ["parameters"] else where[:1])])
        if key in told:  # each type that a value may have tells its own
            continue
        told.add(key)
        known = Parameter if key.startswith("DECLARED.parameters.") else Declared
        rule, way_out = one["msg"], ""
        if one["type"] == "extra_forbidden":
            rule, way_out = "there is no such key", f"There are {', '.join(known.model_fields)}."
        elif key == "DECLARED.linear":
            rule, way_out = "linear is True, or the reason why not", _LAYOUT
        yield Fault(str(path), key, rule, way_out, one["input"], line)


def _unlike(losses: Mapping[str, Declared], files: Mapping[str, Path]) -> Iterator[Fault]:
    """Parameters that two files declare in two ways, and names that none can have."""
    first: dict[str, str] = {}
    for loss, declared in losses.items():
        for name, parameter in declared.parameters.items():
            key = f"DECLARED.parameters.{name}"
            other = first.setdefault(name, loss)
            if not _NAME.fullmatch(name):
                rule = "a parameter is named by small letters, digits and _"
                yield Fault(str(files[loss]), key, rule, "Rename it.")
            elif not losses[other].parameters[name].same(parameter):
                rule = f"{files[other]} declares this parameter otherwise"
                way_out = "Declare it alike in both, or give it another name."
                yield Fault(str(files[loss]), key, rule, way_out, parameter.model_dump())
