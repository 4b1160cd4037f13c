"""The forms that images come in, as the files of ``study/data/formats`` declare them.

A file there has a literal ``FORMAT``, read without importing it (readers bring pyarrow, Pillow or
torchvision), and a function ``read(source)`` that gives the `ImageSet`, or `BadInput` that names
the file and row. Its name is the format's. Where looking is cheaper than reading, it has a
function ``image_size(source)`` too (`own_size`). Sizes and classes are `read_source`'s business,
alike for all; who decodes files does it by the source's own rule (`rule_of`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from study.data import formats
from study.data.classes import of_classes
from study.data.decode import fit_pixels, rule_of
from study.data.images import ImageSet, printable
from study.data.sources import Source
from study.data.walk import entries, is_litter
from study.errors import BadInput, Fault
from study.literals import Declaration, read_literals

_SHARD = re.compile(r"(.+?)-(?P<number>\d{5})-of-(?P<total>\d{5})(-[0-9a-f]{6,})?", re.IGNORECASE)


class FileFormat(Declaration):
    """What a format's file declares; every key may be left out.

    Attributes:
        suffixes: what its files end in, small letters.
        beside: what files end in that belong to another one of the set (its labels).
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
    beside: tuple[str, ...] = Field(default=(), strict=False)
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
        found = (path.name for mark in self.marks for path in folder.glob(mark))
        return not all(map(is_litter, found))

    def belongs_to_another(self, path: Path) -> bool:
        """Whether a file says something of another one, which is there too."""
        name = path.name.lower()
        ending = next((one for one in self.beside if name.endswith(one)), None)
        if ending is None:
            return False
        stem = path.name[: -len(ending)]
        return any((path.parent / f"{stem}{suffix}").exists() for suffix in self.suffixes)

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


def set_name(path: Path) -> str:
    """The name of the set that a file or folder is: without suffix and number of a shard."""
    ending = next((one for one in suffixes() if path.name.lower().endswith(one)), None)
    if ending is None:
        return printable(path.name if path.is_dir() else path.stem)
    stem = path.name[: -len(ending)]
    shard = _SHARD.fullmatch(stem)
    return printable(shard[1] if shard else stem)


def parts_of(path: Path) -> list[Path]:
    """The file itself, or all the numbered shards of its set, in order.

    Raises:
        BadInput: where some of them are missing or there twice.
    """
    shard = _SHARD.fullmatch(path.stem)
    if shard is None:
        return [path]
    found: dict[int, list[Path]] = {}
    for other in entries(path.parent):
        told = _SHARD.fullmatch(other.stem)
        if told and other.suffix == path.suffix and told.group(1, 3) == shard.group(1, 3):
            found.setdefault(int(told["number"]), []).append(other)
    total = int(shard["total"])
    wrong = [number for number in range(total) if len(found.get(number, ())) != 1]
    wrong += [number for number in found if number >= total]
    if wrong:
        told_wrong = ", ".join(f"{number:05d}" for number in wrong[:5])
        rule = f"of the {total} shards of this set, {told_wrong} are missing or there twice"
        raise BadInput(Fault(str(path), "", rule, "Fetch the set again."))
    return [found[number][0] for number in range(total)]


def is_later_shard(path: Path) -> bool:
    """Whether a file is a numbered shard whose set another file stands for."""
    shard = _SHARD.fullmatch(path.stem)
    if shard is None:
        return False
    before = (_SHARD.fullmatch(other.stem) for other in entries(path.parent) if other < path)
    return any(told and told.group(1, 3) == shard.group(1, 3) for told in before)


def read_source(source: Source) -> ImageSet:
    """Read the images of ``source``: its classes, brought to its size.

    Raises:
        BadInput: for an unknown reader, files that cannot be used (see the readers), images that
            are too small, or classes that are not there.
    """
    if source.reader not in file_formats():
        rule = f"no reader '{source.reader}'; there are {', '.join(sorted(file_formats()))}"
        raise BadInput(Fault(source.name, "", rule))
    read: Callable[[Source], ImageSet] = _module(source).read
    images = read(source)
    if images.pixels.shape[1:3] != (source.image_size, source.image_size):
        fitted = fit_pixels(images.pixels, rule_of(source), images.provenance)
        images = images.with_pixels(fitted)
    return of_classes(images, source.only, source.without)


def own_size(source: Source) -> int | None:
    """The edge that the source's images have as they lie; None where they differ.

    Raises:
        BadInput: for files that cannot be read.
    """
    module = _module(source)
    if hasattr(module, "image_size"):
        known: int | None = module.image_size(source)
        return known
    height, width = module.read(source).pixels.shape[1:3]
    return int(width) if height == width else None


def _module(source: Source) -> Any:
    return import_module(f"{formats.__name__}.{source.reader}")


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
