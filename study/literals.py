"""Declarations in files that bring torch: literals that are read without running the file.

A YAML is checked without torch, so what a backbone, a detector, a loss, a file format or a
searcher says of itself stands as a literal in its file. What is wrong is told with its line.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails

from study.errors import NO_VALUE, BadInput, Fault
from study.plugins import files_declaring

NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
"""What a declared name looks like."""

STRICT: Final = ConfigDict(strict=True, allow_inf_nan=False)
"""How values of declarations are validated."""


class Declaration(BaseModel):
    """Base of what a file declares in its literal; a subclass has the keys.

    A field's description says in words what its values must be, where pydantic's would not do.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, **STRICT)

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
