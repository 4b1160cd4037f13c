"""The folders that torchvision's data sets leave on disk, and OOD sets handed out beside them.

CIFAR-10, CIFAR-100 and SVHN are read by torchvision itself, after their files' checksums;
importing it takes seconds, so that happens inside the functions. DTD, Places365, LSUN and iSUN
are pictures of other sizes and follow the folder rule of :mod:`study.data.decode`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from study.data.folders import read_image_files, read_image_folder
from study.data.images import NO_LABEL, ImageSet
from study.errors import BadInput, Fault

CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR100_FOLDER = "cifar-100-python"


def cifar10_url() -> str:
    """Where torchvision takes CIFAR-10 from."""
    from torchvision.datasets import CIFAR10

    return str(CIFAR10.url)


def read_cifar(root: Path, name: str, split: str, *, hundred: bool, download: bool) -> ImageSet:
    """CIFAR-10 or CIFAR-100 out of torchvision's folder under ``root``.

    Args:
        root: the folder that holds ``cifar-10-batches-py`` or ``cifar-100-python``.
        name: the set's name.
        split: "train", or "test".
        hundred: CIFAR-100 in place of CIFAR-10.
        download: fetch it where it is missing or damaged.

    Raises:
        BadInput: naming each file that is missing or damaged, or why the download failed.
    """
    from torchvision import datasets

    kind = datasets.CIFAR100 if hundred else datasets.CIFAR10
    entries = [*kind.train_list, *kind.test_list, [kind.meta["filename"], kind.meta["md5"]]]
    if download:
        _download(kind, root)
    _check_files((root / kind.base_folder / file, md5) for file, md5 in entries)
    data = kind(str(root), train=split == "train", download=False)
    return ImageSet.make(
        name,
        np.ascontiguousarray(data.data),
        labels=np.asarray(data.targets, dtype=np.int64),
        ids=[f"{split}/{row:05d}" for row in range(len(data.data))],
        classes=data.classes,
        provenance=f"{root / kind.base_folder} ({split})",
    )


def read_svhn(root: Path, name: str, split: str) -> ImageSet:
    """SVHN's cropped digits (``{split}_32x32.mat``); label 0 is the digit 0.

    Raises:
        BadInput: if the file is missing or damaged.
    """
    from torchvision.datasets import SVHN

    _, file, md5 = SVHN.split_list[split]
    _check_files([(root / file, md5)])
    data = SVHN(str(root), split=split, download=False)
    return ImageSet.make(
        name,
        np.ascontiguousarray(data.data.transpose(0, 2, 3, 1)),
        labels=data.labels,
        ids=[f"{split}/{row:06d}" for row in range(len(data.data))],
        classes=[f"house number {digit}" for digit in range(10)],
        provenance=str(root / file),
    )


def read_dtd(root: Path, name: str, split: str, size: int) -> ImageSet:
    """Describable Textures: ``images/<category>/*.jpg`` with ``labels/{split}1.txt``.

    Raises:
        BadInput: naming the list, or each picture that cannot be used.
    """
    listing = root / "labels" / f"{split}1.txt"
    ids = [line for line in _lines(listing) if line]
    classes = sorted({row.split("/")[0] for row in ids})
    number = {label: index for index, label in enumerate(classes)}
    return read_image_files(
        [root / "images" / row for row in ids],
        root / "images",
        name,
        size,
        ids=ids,
        labels=[number[row.split("/")[0]] for row in ids],
        classes=classes,
    )


def read_places365(root: Path, name: str, size: int) -> ImageSet:
    """Places365's validation pictures (``val_256``), or any folder of Places pictures.

    With ``places365_val.txt`` and ``categories_places365.txt`` beside them they are labelled.
    Some of the pictures are grey-scale by nature and become RGB with equal channels.

    Raises:
        BadInput: naming each picture that cannot be used.
    """
    folder = next((root / sub for sub in ("val_256", "val_large") if (root / sub).is_dir()), root)
    listing = root / "places365_val.txt"
    if not listing.exists():
        return read_image_folder(folder, name, size, grey=True)
    rows = [line.rsplit(" ", 1) for line in _lines(listing) if line]
    if any(len(row) != 2 or not row[1].isdigit() for row in rows):
        raise BadInput(Fault(str(listing), "", "must hold lines 'FILE NUMBER'", "Fetch it again."))
    categories = root / "categories_places365.txt"
    # "/a/airport_terminal 2": the path's first part is an initial, not a word
    names = [line.rsplit(" ", 1)[0][3:] for line in _lines(categories) if line]
    labels = [int(number) if names else NO_LABEL for _, number in rows]
    files = [folder / file.lstrip("/") for file, _ in rows]
    ids = [file for file, _ in rows]
    return read_image_files(
        files, folder, name, size, ids=ids, labels=labels, classes=names, grey=True
    )


def read_lsun(root: Path, name: str, size: int) -> ImageSet:
    """LSUN as folders of pictures, as the OOD literature hands it out (LSUN_C, LSUN_resize).

    Raises:
        BadInput: for torchvision's lmdb form, and naming each picture that cannot be used.
    """
    databases = sorted(path.name for path in root.glob("*_lmdb")) if root.is_dir() else []
    if databases:
        rule = f"holds lmdb databases ({', '.join(databases)}), which are not read here"
        raise BadInput(Fault(str(root), "", rule, "Export their pictures to a folder."))
    return read_image_folder(root, name, size)


def read_npy(path: Path, name: str) -> ImageSet:
    """Images in one .npy array, uint8 (N, H, W, 3): the "300K random images" file.

    The file is mapped, not read, and may be larger than the memory.

    Raises:
        BadInput: naming the file, if it is missing, truncated, or of another type or shape.
    """
    try:
        if path.stat().st_size == 0:
            raise BadInput(Fault(str(path), "", "is an empty file", "Fetch it again."))
        # a plain array over the map: a memmap itself does not pickle out of band
        pixels = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except OSError as error:
        rule = f"cannot be read: {error.strerror or error}"
        raise BadInput(Fault(str(path), "", rule, "Check the path.")) from None
    except (ValueError, EOFError) as error:
        rule = f"is not a whole .npy array of numbers ({error})"
        way_out = "It may be truncated: fetch it again."
        raise BadInput(Fault(str(path), "", rule, way_out)) from None
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3:
        rule = f"must be uint8 (N, H, W, 3), is {pixels.dtype} {pixels.shape}"
        raise BadInput(Fault(str(path), "", rule, "Convert it to 8-bit RGB."))
    return ImageSet.make(name, pixels, provenance=str(path))


def _download(kind: Any, root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        kind(str(root), download=True)
    # OSError covers a network that is not there, RuntimeError a checksum that is wrong
    except (OSError, RuntimeError) as error:
        rule = f"CIFAR could not be downloaded from {kind.url} ({error})"
        way_out = (
            f"Put {kind.base_folder} into {root} yourself, name a folder with --data-root, "
            "or use --data demo."
        )
        raise BadInput(Fault(str(root), "", rule, way_out)) from None


def _check_files(files: Iterable[tuple[Path, str]]) -> None:
    faults = []
    for path, md5 in files:
        if not path.is_file():
            rule = "is missing"
        elif path.stat().st_size == 0:
            rule = "is an empty file"
        elif _md5(path) != md5:
            rule = "is damaged or truncated: its checksum is not the published one"
        else:
            continue
        faults.append(Fault(str(path), "", rule, "Fetch the data set again."))
    if faults:
        raise BadInput(faults)


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        rule = f"cannot be read as text: {error}"
        raise BadInput(Fault(str(path), "", rule, "Fetch the data set again.")) from None
    if not any(lines):
        raise BadInput(Fault(str(path), "", "is an empty list", "Fetch the data set again."))
    return [line.strip() for line in lines]
