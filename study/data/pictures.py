"""Pictures in files of their own: found under a folder, read and brought to size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from study.data.decode import DecodeRule, codec_of, decode_cached
from study.data.images import NO_LABEL, ImageSet
from study.data.sources import Source
from study.errors import BadInput, Fault

SOURCES_MARKER = "SUBFOLDERS_ARE_SOURCES"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm"})


def read_folder(source: Source, folder: Path | None = None, *, grey: bool = False) -> ImageSet:
    """Read all pictures under a folder; a sub-folder is a class, numbered by the names' order.

    A folder whose sub-folders are source pictures instead (each holding crops of one) says so
    with an empty file `SOURCES_MARKER`: its images have no labels, and the sub-folder is their
    source group. Sizes: see `study.data.decode`, rule ``RESIZE``.

    Args:
        source: the set; its location is the folder where none is given.
        folder: the folder.
        grey: take grey-scale pictures too, as RGB with equal channels.

    Raises:
        BadInput: naming the folder, and the file where one is at fault.
    """
    folder = folder or Path(source.location)
    files = picture_files(folder)
    parts = [path.relative_to(folder).parts for path in files]
    subfolders = [part[0] if len(part) > 1 else "" for part in parts]
    ids = ["/".join(part) for part in parts]
    rule = DecodeRule(source.image_size, resize=True, grey=grey)
    if (folder / SOURCES_MARKER).exists():
        groups = [sub or row for sub, row in zip(subfolders, ids, strict=True)]
        return read_pictures(files, folder, source.name, rule, ids=ids, groups=groups)
    classes = sorted(set(subfolders) - {""})
    number = {label: index for index, label in enumerate(classes)} | {"": NO_LABEL}
    labels = [number[sub] for sub in subfolders]
    return read_pictures(files, folder, source.name, rule, ids=ids, labels=labels, classes=classes)


def read_pictures(
    files: Sequence[Path],
    folder: Path,
    name: str,
    rule: DecodeRule,
    *,
    ids: Sequence[str],
    labels: Sequence[int] | None = None,
    groups: Sequence[str] | None = None,
    classes: Sequence[str] = (),
) -> ImageSet:
    """Read listed pictures of ``folder``.

    The other arguments are ImageSet.make's.
    """
    contents = list(_contents(files))
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    pixels = decode_cached(
        lambda: contents,
        digest.hexdigest(),
        rule,
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


def picture_files(folder: Path) -> list[Path]:
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
