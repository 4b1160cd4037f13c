"""Pictures in files of their own: found under a folder, read and brought to size."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from study.data.decode import MAX_FAULTS_TOLD, codec_of, common_size, decode_cached, rule_of
from study.data.images import NO_LABEL, ImageSet, printable
from study.data.sources import Source
from study.data.walk import find_pictures
from study.errors import BadInput, Fault, first_faults

SOURCES_MARKER = "SUBFOLDERS_ARE_SOURCES"
_NUM_LOOKED_AT = 64  # pictures of a set, for the size that they have


def read_folder(source: Source, folder: Path | None = None) -> ImageSet:
    """Read all pictures under a folder; a sub-folder is a class, numbered by the names' order.

    A folder whose sub-folders are source pictures instead (each holding crops of one) says so
    with an empty file `SOURCES_MARKER`: its images have no labels, and the sub-folder is their
    source group. Links are followed; what is left out is counted (`study.data.walk`).

    Args:
        source: the set; its location is the folder where none is given.
        folder: the folder.

    Raises:
        BadInput: naming the folder, and the file where one is at fault.
    """
    folder = folder or Path(source.location)
    found = find_pictures(folder, {SOURCES_MARKER})
    parts = [path.relative_to(folder).parts for path in found.files]
    subfolders = [printable(part[0]) if len(part) > 1 else "" for part in parts]
    ids = ["/".join(part) for part in parts]
    if (folder / SOURCES_MARKER).exists():
        named: dict[str, Any] = {
            "groups": [sub or row for sub, row in zip(subfolders, ids, strict=True)]
        }
    else:
        classes = sorted(set(subfolders) - {""})
        number = {label: index for index, label in enumerate(classes)} | {"": NO_LABEL}
        named = {"labels": [number[sub] for sub in subfolders], "classes": classes}
    return read_pictures(source, found.files, folder, ids=ids, left_out=found.left_out, **named)


def read_pictures(
    source: Source,
    files: Sequence[Path],
    folder: Path,
    *,
    ids: Sequence[str],
    labels: Sequence[int] | None = None,
    groups: Sequence[str] | None = None,
    classes: Sequence[str] = (),
    left_out: Iterable[tuple[str, int]] = (),
) -> ImageSet:
    """Read listed pictures of ``folder``, each brought to the source's size and colours.

    The other arguments are ImageSet.make's.

    Raises:
        BadInput: naming the pictures that cannot be read or used.
    """
    contents = _contents(files, str(folder), ids)
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    pixels = decode_cached(
        lambda: contents,
        digest.hexdigest(),
        rule_of(source),
        str(folder),
        lambda row: printable(ids[row]),
    )
    codecs = {codec_of(content) for content in contents}
    return ImageSet.make(
        source.name,
        pixels,
        labels=labels,
        ids=ids,
        groups=groups,
        classes=classes,
        provenance=printable(str(folder)),
        codec=codecs.pop() if len(codecs) == 1 else "mixed",
        left_out=left_out,
    )


def common_size_of(files: Sequence[Path]) -> int | None:
    """The edge that pictures have, told by some of them; None where they differ."""
    some = files[:: max(1, len(files) // _NUM_LOOKED_AT)]
    return common_size(path.read_bytes() for path in some if is_there(path))


def is_there(path: Path) -> bool:
    """Whether there is such a file; where no file can have the name, there is none."""
    return os.path.isfile(path)  # noqa: PTH113 - pathlib raises where a name is too long


def _contents(files: Sequence[Path], place: str, ids: Sequence[str]) -> list[bytes]:
    """Files' contents in order."""

    def read(path: Path) -> bytes | str:
        try:
            return path.read_bytes()
        except OSError as error:
            return f"cannot be read: {error.strerror or error}"

    with ThreadPoolExecutor(4) as pool:
        contents = list(pool.map(read, files))
    faults = [
        Fault(place, printable(row), content, "Mend or remove it.")
        for row, content in zip(ids, contents, strict=True)
        if isinstance(content, str)
    ]
    if faults:
        others = "{} further pictures cannot be read either"
        raise BadInput(first_faults(faults, MAX_FAULTS_TOLD, others))
    return [content for content in contents if isinstance(content, bytes)]
