"""Folders of pictures: ``FOLDER/*.png`` or ``FOLDER/<class>/**/*.png``.

A sub-folder is a class, numbered in the order of the names. A folder whose sub-folders are source
pictures instead (each holding crops of one) says so with an empty file ``SUBFOLDERS_ARE_SOURCES``:
its images have no labels, and the sub-folder is their source group. Sizes: see
:mod:`study.data.decode`, rule ``RESIZE``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from study.data.decode import DecodeRule, codec_of, decode_cached
from study.data.images import NO_LABEL, ImageSet
from study.errors import BadInput, Fault

SOURCES_MARKER = "SUBFOLDERS_ARE_SOURCES"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm"})


def read_image_folder(folder: Path, name: str, size: int, *, grey: bool = False) -> ImageSet:
    """Read a folder of pictures, each brought to ``size`` x ``size``.

    Args:
        folder: see the module's text.
        name: the set's name.
        size: edge in pixels.
        grey: take grey-scale pictures too, as RGB with equal channels.

    Raises:
        BadInput: naming the folder, and the file where one is at fault.
    """
    files = image_files(folder)
    parts = [path.relative_to(folder).parts for path in files]
    subfolders = [part[0] if len(part) > 1 else "" for part in parts]
    ids = ["/".join(part) for part in parts]
    if (folder / SOURCES_MARKER).exists():
        groups = [sub or row for sub, row in zip(subfolders, ids, strict=True)]
        return read_image_files(files, folder, name, size, ids=ids, groups=groups, grey=grey)
    classes = sorted(set(subfolders) - {""})
    number = {label: index for index, label in enumerate(classes)} | {"": NO_LABEL}
    labels = [number[sub] for sub in subfolders]
    return read_image_files(
        files, folder, name, size, ids=ids, labels=labels, classes=classes, grey=grey
    )


def read_image_files(
    files: Sequence[Path],
    folder: Path,
    name: str,
    size: int,
    *,
    ids: Sequence[str],
    labels: Sequence[int] | None = None,
    groups: Sequence[str] | None = None,
    classes: Sequence[str] = (),
    grey: bool = False,
    rule: DecodeRule | None = None,
) -> ImageSet:
    """Read listed pictures of ``folder``, by the folder rule where none is given.

    The other arguments are ImageSet.make's.
    """
    contents = list(_contents(files))
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    pixels = decode_cached(
        lambda: contents,
        digest.hexdigest(),
        rule or DecodeRule(size, resize=True, grey=grey),
        str(folder),
        lambda row: ids[row],
    )
    codecs = {codec_of(content) for content in contents}
    return ImageSet.make(
        name,
        pixels,
        labels=labels,
        ids=ids,
        groups=groups,
        classes=classes,
        provenance=str(folder),
        codec=codecs.pop() if len(codecs) == 1 else "mixed",
    )


def image_files(folder: Path) -> list[Path]:
    """All pictures under ``folder``, in the order of their paths; hidden ones are passed over.

    Raises:
        BadInput: if the folder is not there or holds no picture.
    """
    if not folder.is_dir():
        raise BadInput(Fault(str(folder), "", "is not a folder", "Check the path."))
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not files:
        rule = f"holds no picture ({', '.join(sorted(SUFFIXES))})"
        raise BadInput(Fault(str(folder), "", rule, "Name a folder that has some."))
    return files


def _contents(files: Sequence[Path]) -> Iterator[bytes]:
    """Files' contents in order; one that is missing counts as empty and is told by the decoder."""

    def read(path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError:
            return b""

    with ThreadPoolExecutor(4) as pool:
        yield from pool.map(read, files)
