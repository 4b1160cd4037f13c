"""The forms that images come in, as the files of ``study/data/formats`` declare them.

A file there has a literal ``FORMAT``, read without importing it (readers bring pyarrow, Pillow or
torchvision), and a function ``read(source)`` that gives the `ImageSet`, or `BadInput` that names
the file and row. Its name is the format's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from study.data import formats
from study.data.images import ImageSet
from study.data.sources import Source
from study.declared import Declaration, read_literals
from study.errors import BadInput, Fault


class FileFormat(Declaration):
    """What a format's file declares; every key may be left out.

    Attributes:
        suffixes: what its files end in, small letters.
        by_name_only: whether such a file in a role's folder is no set until a YAML names it.
        marks: what a folder of it holds, as patterns; a folder with one of them is of it.
        unmarked: whether its public sets may lack the marks.
        any_folder: whether every folder is of it that no other format's marks are in.
        sets: public sets by the name that a YAML gives them, each with the places under a data
            root where it may lie.
        splits: role -> the split that serves it, of sets that have several.
    """

    noun: ClassVar[str] = "file format"
    defines: ClassVar[Mapping[str, str]] = {"read": "def read(source)"}

    suffixes: tuple[str, ...] = Field(default=(), strict=False)
    by_name_only: bool = False
    marks: tuple[str, ...] = Field(default=(), strict=False)
    unmarked: bool = False
    any_folder: bool = False
    sets: dict[str, list[str]] = Field(default={})
    splits: dict[str, str] = Field(default={})

    def takes_file(self, path: Path) -> bool:
        """Whether a path ends as its files do."""
        return path.name.lower().endswith(self.suffixes)

    def marked(self, folder: Path) -> bool:
        """Whether a folder holds one of its marks."""
        return any(any(folder.glob(mark)) for mark in self.marks)

    def lies_at(self, place: Path) -> bool:
        """Whether a public set of it lies there."""
        return place.exists() if self.unmarked or not self.marks else self.marked(place)

    def split(self, role: str) -> str:
        """The split that serves a role; empty where there is one alone."""
        return self.splits.get(role, "train" if self.splits else "")


def file_formats() -> Mapping[str, FileFormat]:
    """Every format by name.

    Raises:
        BadInput: naming each file and what is wrong with its declaration.
    """
    return _declared(tuple(formats.__path__))


def public_sets() -> dict[str, str]:
    """Name of a public set -> the format that it has."""
    return {known: name for name, one in file_formats().items() for known in one.sets}


def format_of(path: Path) -> str | None:
    """The format of a file by its name, of a folder by what lies in it; None where it has none.

    Raises:
        BadInput: where two formats take it.
    """
    declared = file_formats()
    taking = [name for name, one in declared.items() if one.takes_file(path)]
    if not taking and path.is_dir():
        taking = [name for name, one in declared.items() if one.marked(path)] or [
            name for name, one in declared.items() if one.any_folder
        ]
    if len(taking) > 1:
        rule = f"is of several formats at once: {', '.join(taking)}"
        way_out = "Part what belongs to each, or mend what their files declare: "
        files = ", ".join(str(declared[name].file) for name in taking)
        raise BadInput(Fault(str(path), "", rule, f"{way_out}{files}."))
    return taking[0] if taking else None


def suffixes() -> list[str]:
    """What files of any format end in."""
    return [suffix for one in file_formats().values() for suffix in one.suffixes]


def read_source(source: Source) -> ImageSet:
    """Read the images of ``source``.

    Raises:
        BadInput: for an unknown reader, files that cannot be used (see the readers), or images
            of another size than ``source.image_size``.
    """
    if source.reader not in file_formats():
        rule = f"no reader '{source.reader}'; there are {', '.join(sorted(file_formats()))}"
        raise BadInput(Fault(source.name, "", rule))
    read: Callable[[Source], ImageSet]
    read = import_module(f"{formats.__name__}.{source.reader}").read
    images = read(source)
    height, width = images.pixels.shape[1:3]
    if (height, width) != (source.image_size, source.image_size):
        size = source.image_size
        rule = f"images are {width}x{height}, data.image_size is {size}x{size}"
        way_out = "Set data.image_size to theirs, or name another set."
        raise BadInput(Fault(images.provenance, "", rule, way_out))
    return images


@cache
def _declared(folders: tuple[str, ...]) -> Mapping[str, FileFormat]:
    return read_literals(folders, "FORMAT", FileFormat, together=_apart)


def _apart(declared: Mapping[str, FileFormat]) -> Iterator[Fault]:
    """Suffixes and sets that two files claim, and suffixes that no file can have."""
    first: dict[tuple[str, str], FileFormat] = {}
    for one in declared.values():
        for key, names in (("suffixes", one.suffixes), ("sets", one.sets)):
            for name in names:
                other = first.setdefault((key, name), one)
                if other is not one:
                    rule = f"{other.file} declares this too"
                    yield one.fault((key,), rule, "Leave it to one of them.", name)
        for suffix in one.suffixes:
            if not suffix.startswith(".") or suffix != suffix.lower():
                rule = "a suffix is a dot and small letters"
                yield one.fault(("suffixes",), rule, 'Write ".npz".', suffix)
    whole = [one for one in declared.values() if one.any_folder]
    for one in whole[1:]:
        rule = f"{whole[0].file} takes every folder already"
        yield one.fault(("any_folder",), rule, "Give it marks.")
