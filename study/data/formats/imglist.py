"""Image lists: text files with a line ``PATH LABEL`` for each image, as OpenOOD hands them out.

The pictures' folder is found from the list: of the list's own folder and those above it, each with
its ``images_classic`` and then ``images_largescale`` first, the first that has the list's first
picture. Labels count classes where all are 0 or more and each has a folder of its own, which names
it; else (OpenOOD marks OOD images with -1) the folder of a picture is its class, so that classes
of the ID set are found by their names.

Sizes: see :mod:`study.data.decode`, rule ``SHORTER_SIDE``, which is OpenOOD's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from study.data.decode import DecodeRule
from study.data.images import NO_LABEL, ImageSet
from study.data.pictures import read_pictures
from study.data.sources import Source
from study.errors import BadInput, Fault

FORMAT = {"suffixes": [".txt"], "by_name_only": True}  # a text in a folder may be anything
IMAGE_FOLDERS = ("images_classic", "images_largescale", ".")
_MOST_TOLD = 5


def read(source: Source) -> ImageSet:
    """Read the pictures of a list, each brought to the source's size as OpenOOD does.

    Raises:
        BadInput: naming the list, its line, or each picture that is missing or cannot be used.
    """
    path = Path(source.location)
    ids, numbers = _rows(path)
    folder = _folder_of(path, ids[0])
    files = [folder / row for row in ids]
    missing = [file for file in files if not file.is_file()]
    if missing:
        told = [Fault(str(path), "", f"there is no {file}") for file in missing[:_MOST_TOLD]]
        more = len(missing) - len(told)
        rule = f"{more} further pictures of the list are missing too"
        raise BadInput([*told, *([Fault(str(path), "", rule)] if more else [])])
    labels, classes = _classes(ids, numbers)
    decode = DecodeRule(source.image_size, resize=True, grey=True, shorter_side=True)
    return read_pictures(
        files, folder, source.name, decode, ids=ids, labels=labels, classes=classes
    )


def _rows(path: Path) -> tuple[list[str], list[int]]:
    """Paths and labels of a list's lines."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        rule = f"cannot be read as an image list ({error})"
        raise BadInput(Fault(str(path), "", rule, "Check the path.")) from error
    ids, numbers = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        picture, _, label = line.strip().rpartition(" ")
        if not picture or not label.removeprefix("-").isdigit() or picture.startswith("/"):
            rule = "a line of an image list is a path below the pictures' folder and a label"
            way_out = "Write cifar10/train/cat/0001.png 3."
            raise BadInput(Fault(str(path), f"line {number}", rule, way_out, line.strip()[:80]))
        ids.append(picture)
        numbers.append(int(label))
    if not ids:
        raise BadInput(Fault(str(path), "", "lists no picture", "Name a list that has some."))
    return ids, numbers


def _folder_of(path: Path, first: str) -> Path:
    tried = [parent / name for parent in path.absolute().parents[:4] for name in IMAGE_FOLDERS]
    for folder in tried:
        if (folder / first).is_file():
            return folder
    places = ", ".join(str(folder) for folder in tried[:6])
    rule = f"its first picture, {first}, is in none of the folders {places} ..."
    raise BadInput(Fault(str(path), "", rule, "Put images_classic beside benchmark_imglist."))


def _classes(ids: Sequence[str], numbers: Sequence[int]) -> tuple[list[int], list[str]]:
    """Labels and the names of the classes that they count; no names where nothing names them."""
    folders = [Path(row).parent.name for row in ids]
    pairs = set(zip(numbers, folders, strict=True))
    known = sorted(set(numbers))
    if known == list(range(len(known))) and len(pairs) == len(known) == len(set(folders)):
        return list(numbers), [folder for _, folder in sorted(pairs)]
    if known[0] >= 0 and len(known) > 1:
        return list(numbers), []
    names = sorted(set(folders))
    if len(names) < 2:
        return [NO_LABEL] * len(ids), []
    place = {name: index for index, name in enumerate(names)}
    return [place[folder] for folder in folders], names
