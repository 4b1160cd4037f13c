"""CIFAR-10 in torchvision's folder ``cifar-10-batches-py``, by torchvision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10

from study.data.images import ImageSet
from study.data.published import check_files
from study.data.sources import Source
from study.errors import BadInput, Fault

FORMAT: dict[str, object] = {}  # an ID set, found by `study.data.id_choice` alone


def read(source: Source) -> ImageSet:
    """Read a split from the folder that holds ``cifar-10-batches-py``; see `read_cifar`."""
    return read_cifar(source, CIFAR10)


def image_size(source: Source) -> int:
    """Both sets of CIFAR are of this size."""
    del source
    return 32


def read_cifar(source: Source, kind: type[CIFAR10]) -> ImageSet:
    """Read a split of CIFAR-10 or of CIFAR-100, after their files' checksums.

    Args:
        source: the folder and the split; its files are fetched where it says so and they are
            missing or damaged.
        kind: torchvision's class of the data set.

    Raises:
        BadInput: naming each file that is missing or damaged, or why the download failed.
    """
    root, split = Path(source.location), source.split
    entries = [*kind.train_list, *kind.test_list, [kind.meta["filename"], kind.meta["md5"]]]
    if source.download:
        _fetch(kind, root)
    check_files((root / kind.base_folder / file, md5) for file, md5 in entries)
    data = kind(str(root), train=split == "train", download=False)
    return ImageSet.make(
        source.name,
        np.ascontiguousarray(data.data),
        labels=np.asarray(data.targets, dtype=np.int64),
        ids=[f"{split}/{row:05d}" for row in range(len(data.data))],
        classes=data.classes,
        provenance=f"{root / kind.base_folder} ({split})",
    )


def _fetch(kind: type[CIFAR10], root: Path) -> None:
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
