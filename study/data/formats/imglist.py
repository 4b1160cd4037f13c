"""Image lists: text files with a line ``PATH LABEL`` for each image, as OpenOOD hands them out.

The pictures' folder is found from the list: of the list's own folder and those above it, each with
its ``images_classic`` and then ``images_largescale`` first, the first that has the list's first
picture. Labels count classes, and -1 is none; ``STEM_classes.txt`` or ``classes.txt`` beside the
list names them, or each has a folder of its own, which does. Where all images have one label
(OpenOOD marks OOD images with -1) the folder of a picture is its class, so that classes of the ID
set are found by their names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from posixpath import normpath

import numpy as np

from study.data.class_list import class_list
from study.data.images import NO_LABEL, ImageSet, printable
from study.data.pictures import common_size_of, is_there, read_pictures
from study.data.sources import Source
from study.data.texts import text_lines
from study.errors import BadInput, Fault, first_faults

FORMAT = {"suffixes": [".txt"], "by_name_only": True}  # a text in a folder may be anything
IMAGE_FOLDERS = ("images_classic", "images_largescale", ".")
_MOST_TOLD = 5
_LABEL = re.compile(r"-1|\d{1,9}")


def read(source: Source) -> ImageSet:
    """Read the pictures of a list.

    Raises:
        BadInput: naming the list, its line, or each picture that is missing or cannot be used.
    """
    path = Path(source.location)
    rows, twice = _rows(path)
    ids, numbers = list(rows), list(rows.values())
    folder = _folder_of(path, ids)
    files = [folder / row for row in ids]
    missing = [file for file in files if not is_there(file)]
    if missing:
        faults = [Fault(str(path), "", f"there is no {file}") for file in missing]
        others = "{} further pictures of the list are missing too"
        raise BadInput(first_faults(faults, _MOST_TOLD, others))
    labels, classes = _classes(path, ids, numbers)
    left_out = [("listed twice", twice)] if twice else []
    return read_pictures(
        source, files, folder, ids=ids, labels=labels, classes=classes, left_out=left_out
    )


def image_size(source: Source) -> int | None:
    """The edge that all its pictures have, told by some of them; None where they differ."""
    path = Path(source.location)
    ids = list(_rows(path)[0])
    folder = _folder_of(path, ids)
    return common_size_of([folder / row for row in ids])


def _rows(path: Path) -> tuple[dict[str, int], int]:
    """Path -> label of a list's lines, and how many lines repeat one."""
    lines = text_lines(path, "an image list", "Write it as UTF-8 text.")
    found: dict[str, int] = {}
    first: dict[str, int] = {}
    faults: list[Fault] = []
    twice = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        picture, label = ["", *line.strip().rsplit(None, 1)][-2:]
        picture = picture and normpath(picture.replace("\\", "/"))  # one name for one file
        if not picture or not _LABEL.fullmatch(label) or picture.startswith("/"):
            rule = "a line of an image list is a path below the pictures' folder and a label"
            way_out = "Write cifar10/train/cat/0001.png 3, or -1 for no label."
            faults.append(Fault(str(path), f"line {number}", rule, way_out, line.strip()[:80]))
        elif found.setdefault(picture, int(label)) != int(label):
            rule = (
                f"{picture} has label {label} here and {found[picture]} on line {first[picture]}"
            )
            faults.append(Fault(str(path), f"line {number}", rule, "Give it one label."))
        else:
            twice += picture in first
        first.setdefault(picture, number)
    if not found and not faults:
        faults.append(Fault(str(path), "", "lists no picture", "Name a list that has some."))
    if faults:
        raise BadInput(first_faults(faults, _MOST_TOLD, "{} further lines are wrong too"))
    return found, twice


def _folder_of(path: Path, ids: Sequence[str]) -> Path:
    """The folder that the pictures lie in, told by the first that is found."""
    first = ids[0]
    tried = [parent / name for parent in path.absolute().parents[:4] for name in IMAGE_FOLDERS]
    # some of the list's: that its first picture is missing is to be told as that
    for row in ids[:_MOST_TOLD]:
        for folder in tried:
            if is_there(folder / row):
                return folder
    places = ", ".join(str(folder) for folder in tried[:6])
    rule = f"its first picture, {first}, is in none of the folders {places} ..."
    raise BadInput(Fault(str(path), "", rule, "Put images_classic beside benchmark_imglist."))


def _classes(
    path: Path, ids: Sequence[str], numbers: Sequence[int]
) -> tuple[list[int], list[str]]:
    """Labels and the names of the classes that they count; no names where nothing names them."""
    if max(numbers) >= 0 and (named := class_list(path, np.array(numbers))):
        return list(numbers), named
    folders = [printable(_class_folder(row)) for row in ids]
    pairs = sorted({pair for pair in zip(numbers, folders, strict=True) if pair[0] >= 0})
    named = [folder for _, folder in pairs]
    if pairs and [number for number, _ in pairs] == list(range(len(set(named)))):
        return list(numbers), named
    if pairs and len(set(numbers)) > 1:
        return list(numbers), []
    names = sorted(set(folders))
    if len(names) < 2:
        return [NO_LABEL] * len(ids), []
    place = {name: index for index, name in enumerate(names)}
    return [place[folder] for folder in folders], names


def _class_folder(row: str) -> str:
    """The folder of a picture's class: those of Tiny ImageNet have one more in it, ``images``."""
    folder = Path(row).parent
    return folder.parent.name if folder.name == "images" else folder.name
