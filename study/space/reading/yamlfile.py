"""YAML read strictly: what PyYAML reads in silence, and wrongly, is a fault here.

Two equal keys, ``1e-4`` (text to PyYAML), ``010`` (eight), ``off`` (false), dates and tags are
told with their line instead of being taken for something else. Nothing is ever constructed but
dicts, lists, text, numbers, true/false and null.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from study.errors import BadInput, Fault

MAX_BYTES = 1_000_000
MAX_NODES = 20_000  # aliases expand: a few lines can stand for billions of nodes
MAX_DEPTH = 50

_TAG = "tag:yaml.org,2002:"
_PLAIN_INT = re.compile(r"[-+]?(0|[1-9][0-9_]{0,29})")
_LEAST_INT, _GREATEST_INT = -(2**63), 2**63 - 1  # what tables and databases hold
_BOOLS = {"true": True, "false": False}
_NULLS = {"", "~", "null"}
_READ_AS_TEXT = "YAML reads this number as text"

KeyPath = tuple[str | int, ...]


@dataclass
class Document:
    """What a YAML text says, where it says it, and what is wrong with how it is written.

    Attributes:
        value: plain dicts, lists and scalars.
        lines: path of keys and list positions -> 1-based line.
        faults: everything that is wrong; the value holds the likely meaning meanwhile.
        misread: dotted keys whose value is not what stands in the file.
    """

    place: str
    value: Any
    lines: dict[KeyPath, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    misread: set[str] = field(default_factory=set)


def dotted(path: KeyPath) -> str:
    """``("data", "outliers", 0)`` as ``data.outliers[0]``; unprintable characters escaped."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def read(path: Path, place: str | None = None) -> Document:
    """Read a YAML file; faults that leave something to read are left in the document.

    Raises:
        BadInput: if the file cannot be read at all: no such file, not UTF-8, broken syntax,
            empty, several documents, or no mapping at the top.
    """
    place = place or str(path)
    document = parse(_text(path, place), place)
    if not isinstance(document.value, dict):
        kind = "empty" if document.value is None else f"a {_kind(document.value)} at the top"
        way_out = "Write sections such as `recipe:`, `train:` and `search:`, one below the other."
        rule = f"the file must hold a mapping of keys, and it is {kind}"
        raise BadInput([*document.faults, Fault(place, "", rule, way_out)])
    return document


def parse(text: str, place: str) -> Document:
    """Read YAML from text (BadInput for broken syntax and several documents)."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise BadInput(_syntax_fault(error, text, place)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        rule = f"character {error.character:#04x} is not allowed in YAML"
        raise BadInput(Fault(place, "", rule, "Take it out.", line=line)) from None
    except (ValueError, OverflowError):  # PyYAML passes a bad \U escape on to chr()
        rule = "a character escape stands for no character"
        raise BadInput(Fault(place, "", rule, "Write the character itself.")) from None
    except RecursionError:
        raise BadInput(_too_large(place)) from None
    reader = _Reader(place)
    value = None if node is None else reader.construct(node, (), ())
    return Document(place, value, reader.lines, reader.faults, reader.misread)


def dump(content: Mapping[str, Any]) -> str:
    """Plain data as YAML that ``parse`` reads back equal, types included."""
    return yaml.dump(dict(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=99)


def _text(path: Path, place: str) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise BadInput(Fault(place, "", "no such file", "Check the path.")) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        rule = f"the file cannot be read ({reason})"
        raise BadInput(Fault(place, "", rule, "Give the path of a readable YAML file.")) from None
    if len(content) > MAX_BYTES:
        raise BadInput(_too_large(place))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        rule = f"the file must be UTF-8, and byte {content[error.start]:#04x} is not"
        raise BadInput(Fault(place, "", rule, "Save it as UTF-8.", line=line)) from None


def _too_large(place: str) -> Fault:
    rule = f"a space holds at most {MAX_NODES:,} values, {MAX_DEPTH} deep, in {MAX_BYTES:,} bytes"
    return Fault(place, "", rule, "Is this the file that you meant? Aliases count in full.")


def _syntax_fault(error: yaml.MarkedYAMLError, text: str, place: str) -> Fault:
    mark = error.problem_mark or error.context_mark
    line = None if mark is None else mark.line + 1
    problem = error.problem or "the syntax is broken"
    if error.context == "expected a single document in the stream":
        way_out = "Take out the second `---`."
        return Fault(place, "", "one file holds one space", way_out, line=line)
    lines = text.splitlines()
    faulty = lines[line - 1] if line is not None and line <= len(lines) else ""
    if "\t" in faulty:
        way_out = "YAML indents with spaces: replace the tab."
    elif "mapping values are not allowed" in problem:
        way_out = "Quote text that holds a colon, and check the indentation."
    else:
        way_out = "Check indentation, brackets and quotes on this line and the one above."
    return Fault(place, "", f"not valid YAML: {problem}", way_out, line=line)


def _kind(value: Any) -> str:
    names = {list: "list", dict: "mapping", str: "text", bool: "true/false"}
    return names.get(type(value), "number")


def _clean(text: str) -> bool:
    return all(c in "\n\t" or (c >= " " and not "\ud800" <= c <= "\udfff") for c in text)


class _Reader:
    """Turns nodes into plain data, noting lines and faults on the way."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.faults: list[Fault] = []
        self.lines: dict[KeyPath, int] = {}
        self.misread: set[str] = set()
        self.nodes = 0

    def fault(self, node: Node, path: KeyPath, rule: str, way_out: str, value: Any) -> None:
        line = node.start_mark.line + 1
        self.faults.append(Fault(self.place, dotted(path), rule, way_out, value, line))
        self.misread.add(dotted(path))

    def construct(self, node: Node, path: KeyPath, above: tuple[int, ...]) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(above) > MAX_DEPTH or id(node) in above:
            raise BadInput(_too_large(self.place))
        self.lines.setdefault(path, node.start_mark.line + 1)
        inside = (*above, id(node))
        tag = node.tag.removeprefix(_TAG)
        if isinstance(node, ScalarNode):
            return self._scalar(node, tag, path)
        if isinstance(node, SequenceNode) and tag == "seq":
            return [self.construct(n, (*path, i), inside) for i, n in enumerate(node.value)]
        if isinstance(node, MappingNode) and tag == "map":
            return self._mapping(node, path, inside)
        return self._foreign(node, path)

    def _foreign(self, node: Node, path: KeyPath) -> Any:
        rule = "tags are not read: a space is plain data"
        self.fault(node, path, rule, f"Take {node.tag!r} out.", node.tag)
        return None

    def _mapping(self, node: MappingNode, path: KeyPath, above: tuple[int, ...]) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        first_line: dict[str, int] = {}
        merged_on = 0
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == f"{_TAG}merge":
                if merged_on:
                    self._twice((*path, "<<"), value_node, line, merged_on)
                    continue
                merged_on = line
                merged = self._merge(value_node, path, above)
                continue
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in own:
                self._twice((*path, key), value_node, line, first_line[key])
                continue
            first_line[key] = line
            self.lines[(*path, key)] = line
            own[key] = self.construct(value_node, (*path, key), above)
        # a `<<` below a key has left the line of its anchor there
        self.lines |= {(*path, key): line for key, line in first_line.items()}
        return {**own, **{name: value for name, value in merged.items() if name not in own}}

    def _twice(self, path: KeyPath, node: Node, line: int, first: int) -> None:
        rule = f"the same key stands on line {first} already"
        value = node.value if isinstance(node, ScalarNode) else path[-1]
        fault = Fault(self.place, dotted(path), rule, "Keep one of the two.", value, line)
        self.faults.append(fault)

    def _merge(self, node: Node, path: KeyPath, above: tuple[int, ...]) -> dict[str, Any]:
        value = self.construct(node, path, above)
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, dict) for part in parts):
            rule = "`<<` takes in mappings only"
            self.fault(node, path, rule, "Give it an alias of a mapping, `<<: *name`.", value)
            return {}
        return {key: one for part in reversed(parts) for key, one in part.items()}

    def _key(self, node: Node, path: KeyPath) -> str | None:
        if not isinstance(node, ScalarNode) or node.tag != f"{_TAG}str":
            value = node.value if isinstance(node, ScalarNode) else "a collection"
            rule = "keys are text, and YAML does not read this one as text"
            self.fault(node, path, rule, "Rename it, or quote it.", value)
            return None
        if not node.value or not node.value.isprintable():
            rule = "a key has at least one character, all printable"
            self.fault(node, path, rule, "Rename it.", node.value)
            return None
        return str(node.value)

    def _scalar(self, node: ScalarNode, tag: str, path: KeyPath) -> Any:
        text = str(node.value)
        if tag == "null":
            if text.lower() not in _NULLS:
                rule = f"the tag makes null of {text!r}"
                self.fault(node, path, rule, "Take the tag out, or write null.", text)
            return None
        if tag in {"str", "value", "merge"}:
            return self._string(node, text, path)
        if tag == "bool":
            if text.lower() not in _BOOLS:
                rule = f"YAML reads {text!r} as true or false"
                self.fault(node, path, rule, "Write true or false, or quote the word.", text)
            return text.lower() in {"true", "yes", "on"}
        if tag == "int":
            return self._int(node, text, path)
        if tag == "float":
            return self._float(node, text, path)
        if tag == "timestamp":
            self.fault(node, path, "YAML reads this as a date", "Quote it.", text)
            return text
        return self._foreign(node, path)

    def _string(self, node: ScalarNode, text: str, path: KeyPath) -> Any:
        if not _clean(text):
            rule = "text must be printable"
            self.fault(node, path, rule, "Take the control characters out.", text)
            return ""
        number = _number(text) if node.style is None else None
        if number is None:
            return text
        if not math.isfinite(number):
            return self._not_finite(node, text, path)
        if text.lstrip("+-\u2212").isdecimal() and abs(number) <= _GREATEST_INT:
            number = int(text.replace("\u2212", "-"))
        self.fault(node, path, _READ_AS_TEXT, f"Write {_yaml_number(number)}.", text)
        return number

    def _int(self, node: ScalarNode, text: str, path: KeyPath) -> Any:
        if _PLAIN_INT.fullmatch(text):
            number = int(text.replace("_", ""))
            if _LEAST_INT <= number <= _GREATEST_INT:
                return number
            rule = "whole numbers lie between -2^63 and 2^63 - 1, as tables hold them"
            self.fault(node, path, rule, f"Write a smaller one, or {float(number):.1e}.", text)
            return min(max(number, _LEAST_INT), _GREATEST_INT)
        rule = "whole numbers are written in plain decimal digits, 30 at most"
        way_out = "YAML reads a leading 0 as octal and a colon as base 60: write the number out."
        self.fault(node, path, rule, way_out, text)
        return 1

    def _float(self, node: ScalarNode, text: str, path: KeyPath) -> Any:
        number = _number(text)
        if number is None:
            rule = "numbers are written in plain decimals"
            way_out = "YAML reads a colon as base 60: write the number out."
            self.fault(node, path, rule, way_out, text)
            return 1.0
        return number if math.isfinite(number) else self._not_finite(node, text, path)

    def _not_finite(self, node: ScalarNode, text: str, path: KeyPath) -> float:
        self.fault(node, path, "a number must be finite", "Give a finite one.", text)
        return 1.0


def _number(text: str) -> float | None:
    """The number that a person means by ``text``, if any."""
    if text.lower().lstrip("+-") in {".nan", ".inf"}:
        return math.nan
    try:
        return float(text.replace("\u2212", "-"))  # the minus sign of typesetting
    except ValueError:
        return None


def _yaml_number(number: float) -> str:
    return str(yaml.safe_dump(number)).split("\n", 1)[0]


class _Dumper(yaml.SafeDumper):
    """Block mappings, lists on one line, no aliases, and text that looks like a number quoted."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML names it
        """Write equal objects out each time."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> ScalarNode:
    style = None if _number(text) is None else "'"
    return dumper.represent_scalar(f"{_TAG}str", text, style=style)


def _represent_list(dumper: yaml.SafeDumper, items: list[Any]) -> SequenceNode:
    return dumper.represent_sequence(f"{_TAG}seq", items, flow_style=True)


def _represent_dict(dumper: yaml.SafeDumper, content: dict[str, Any]) -> MappingNode:
    return dumper.represent_mapping(f"{_TAG}map", content, flow_style=False)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(dict, _represent_dict)
