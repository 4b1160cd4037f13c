"""SVHN's cropped digits (``{split}_32x32.mat``), by torchvision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torchvision.datasets import SVHN

from study.data.images import ImageSet
from study.data.published import check_files
from study.data.sources import Source

FORMAT = {
    "marks": ["*_32x32.mat"],
    "sets": {"svhn": ["svhn", "SVHN", "."]},
    "splits": {"outliers": "train", "ood_val": "train", "ood_test": "test"},
}


def read(source: Source) -> ImageSet:
    """Read a split; label 0 is the digit 0.

    Raises:
        BadInput: if the file is missing or damaged.
    """
    root, split = Path(source.location), source.split
    _, file, md5 = SVHN.split_list[split]
    check_files([(root / file, md5)])
    data = SVHN(str(root), split=split, download=False)
    return ImageSet.make(
        source.name,
        np.ascontiguousarray(data.data.transpose(0, 2, 3, 1)),
        labels=data.labels,
        ids=[f"{split}/{row:06d}" for row in range(len(data.data))],
        classes=[f"house number {digit}" for digit in range(10)],
        provenance=str(root / file),
    )
