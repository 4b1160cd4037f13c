"""Declarations are read without running their files, and what is wrong is told with its line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field

from study.declared import Parameter
from study.errors import BadInput
from study.literals import Declaration, read_literals


class Toy(Declaration):
    noun: ClassVar[str] = "toy"
    defines: ClassVar[Mapping[str, str]] = {"Play": "class Play(Toy)"}

    strides: tuple[int, ...] = Field(default=(1,), description="whole numbers in a tuple")
    parameters: dict[str, Parameter] = Field(default={})


class Part(Declaration):
    noun: ClassVar[str] = "part"

    size: int

    def must_define(self) -> Mapping[str, str]:
        return {"build": "def build(name)", **({"more": "def more()"} if self.size > 1 else {})}


PLAY = "class Play: pass\n"


def test_read_literals_reads_files_by_name_without_running_them(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text(f"import nowhere\nTOY = {{'strides': (4,)}}\n{PLAY}")
    (tmp_path / "a.py").write_text(
        f"TOY: X = {{'parameters': {{'k': {{'default': -1, 'meaning': 'one '\n'two'}}}}}}\n{PLAY}"
    )
    (tmp_path / "_helps.py").write_text("not Python")
    found = read_literals([tmp_path], "TOY", Toy, first=("b", "gone"))
    assert list(found) == ["b", "a"]
    assert found["b"].strides == (4,)
    assert found["a"].parameters["k"].told() == {"default": -1, "meaning": "one two"}
    assert found["a"].file == tmp_path / "a.py"


def test_read_literals_takes_a_file_of_the_first_folder_before_others(tmp_path: Path) -> None:
    for folder, stride in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text(f"TOY = {{'strides': ({stride},)}}\n{PLAY}")
    folders = [tmp_path / "two", tmp_path / "one"]
    assert read_literals(folders, "TOY", Toy)["a"].strides == (2,)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", r"a\.py: TOY: a file of this folder declares its toy: TOY is set once"),
        (f"TOY = {{}}\n{PLAY}TOY = {{}}\n", r"a\.py:3: TOY: .* set once, to a literal"),
        (
            "TOY = {}\n",
            r"has a class Play\. Write class Play\(Toy\), or let the file's name begin",
        ),
        (f"\nTOY = dict(a=1)\n{PLAY}", r"a\.py:2: TOY: .*plain values alone\. Write out dict"),
        (f"TOY = {{\n**MORE}}\n{PLAY}", r"plain values alone\. Write out what \*\* stands for"),
        (f"TOY = {{\n'strides': (N,)}}\n{PLAY}", r"a\.py:2: TOY\.strides: .*Write out \(N,\)"),
        (f"TOY = {{'strides': (1,),\n'strides': (1,)}}\n{PLAY}", r"a\.py:2: .*twice"),
        (f"TOY = {{\n1: 2}}\n{PLAY}", r"a\.py:2: TOY: 1 is no text, as a key must be"),
        (f"TOY = [1]\n{PLAY}", r"TOY: \[1\]: a declaration is a dict\. Write TOY as the files"),
        (f"TOY = {{\n'stride': (1,)}}\n{PLAY}", r"a\.py:2: TOY\.stride: .*There are strides, par"),
        (f"TOY = {{'strides': 4}}\n{PLAY}", r"TOY\.strides: 4: whole numbers in a tuple"),
        (
            f"TOY = {{'parameters': {{\n'k': {{'default': 0,\n'most': 1}}}}}}\n{PLAY}",
            r"a\.py:3: TOY\.parameters\.k\.most: 1: there is no such key\. There are default,",
        ),
        (
            f"TOY = {{'parameters': {{\n'k': {{'ge': 1}}}}}}\n{PLAY}",
            r"a\.py:2: TOY\.parameters\.k\.default: this key is required",
        ),
        (
            f"TOY = {{'parameters': {{\n'k': {{'default': 0, 'ge': 1}}}}}}\n{PLAY}",
            r"a\.py:2: TOY\.parameters\.k: .*its own default breaks it",
        ),
        ("class Play\n", r"a\.py:1: this is no Python"),
        ("TOY = '\0'", r"a\.py.*: this is no Python"),
    ],
)
def test_read_literals_tells_file_line_key_rule_and_way_out(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "a.py").write_text(text)
    with pytest.raises(BadInput, match=told):
        read_literals([tmp_path], "TOY", Toy)


def test_read_literals_of_bytes_that_are_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=r"a\.py: this is no Python"):
        read_literals([tmp_path], "TOY", Toy)


def test_read_literals_tells_the_faults_of_all_files_together(tmp_path: Path) -> None:
    (tmp_path / "One.py").write_text(f"TOY = {{}}\n{PLAY}")
    (tmp_path / "two.py").write_text(f"TOY = {{'size': 1, 'strides': 2}}\n{PLAY}")
    with pytest.raises(BadInput) as caught:
        read_literals([tmp_path], "TOY", Toy, together=lambda found: [*found.values()][0:0])
    told = [(Path(fault.place).name, fault.key) for fault in caught.value.faults]
    assert told == [("One.py", ""), ("two.py", "TOY.strides"), ("two.py", "TOY.size")]


BUILD = "def build(name): pass\n"


def test_read_literals_of_several_are_in_the_order_of_files_and_literals(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text(f"PARTS = {{'z': {{'size': 1}}}}\n{BUILD}")
    (tmp_path / "a.py").write_text(f"PARTS = {{'y': {{'size': 1}}, 'x': {{'size': 0}}}}\n{BUILD}")
    (tmp_path / "helps.py").write_text("no Python, and none of these")
    found = read_literals([tmp_path], "PARTS", Part, several=True)
    assert {name: one.size for name, one in found.items()} == {"y": 1, "x": 0, "z": 1}


@pytest.mark.parametrize(
    ("literal", "told"),
    [
        ("{'y': {'size': 1}, 'y': {'size': 1}}", r"PARTS\.y: y is declared already, in .*a\.py"),
        ("{'Y': {'size': 1}}", "PARTS: 'Y': a part is named by small letters"),
        ("{NAME: {'size': 1}}", "PARTS: .*plain values alone. Write out NAME"),
        ("{**MORE}", r"PARTS: .*Write out what \*\* stands for"),
        ("dict.fromkeys('a')", "PARTS: a dict of each part's name and what it is, written out"),
        ("{'y': {}}", r"PARTS\.y\.size: this key is required"),
        ("{'y': (4,)}", r"PARTS\.y: \(4,\): a declaration is a dict"),
        ("{'y': {'size': 2}}", r"PARTS\.y: a file that declares a part has a function more\. Wr"),
    ],
)
def test_read_literals_of_several_tells_what_is_wrong(
    tmp_path: Path, literal: str, told: str
) -> None:
    (tmp_path / "a.py").write_text(f"PARTS = {literal}\n{BUILD}")
    with pytest.raises(BadInput, match=rf"a\.py:1: {told}"):
        read_literals([tmp_path], "PARTS", Part, several=True)


def test_read_literals_of_one_name_in_two_files_tells_both(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(f"PARTS = {{'y': {{'size': 1}}}}\n{BUILD}")
    with pytest.raises(BadInput, match=r"b\.py:1: PARTS\.y: y is declared already, in .*a\.py"):
        read_literals([tmp_path], "PARTS", Part, several=True)
