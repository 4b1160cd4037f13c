"""Describable Textures: ``images/<category>/*.jpg`` with ``labels/{split}1.txt``."""

from __future__ import annotations

from pathlib import Path

from study.data.images import ImageSet
from study.data.pictures import read_pictures
from study.data.published import lines
from study.data.sources import Source

FORMAT = {
    "marks": ["labels/*1.txt"],
    "sets": {"dtd": ["dtd/dtd", "dtd", "DTD"]},
    "splits": {"outliers": "train", "ood_val": "val", "ood_test": "test"},
}


def read(source: Source) -> ImageSet:
    """Read the pictures that the first list of the split names.

    Raises:
        BadInput: naming the list, or each picture that cannot be used.
    """
    root = Path(source.location)
    listing = root / "labels" / f"{source.split}1.txt"
    ids = [line for line in lines(listing) if line]
    classes = sorted({row.split("/")[0] for row in ids})
    number = {label: index for index, label in enumerate(classes)}
    return read_pictures(
        source,
        [root / "images" / row for row in ids],
        root / "images",
        ids=ids,
        labels=[number[row.split("/")[0]] for row in ids],
        classes=classes,
    )
