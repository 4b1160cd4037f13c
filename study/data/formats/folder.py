"""Folders of pictures: ``FOLDER/*.png`` or ``FOLDER/<class>/**/*.png``."""

from __future__ import annotations

from pathlib import Path

from study.data.images import ImageSet
from study.data.pictures import common_size_of, read_folder
from study.data.sources import Source
from study.data.walk import find_pictures

FORMAT = {"any_folder": True}


def read(source: Source) -> ImageSet:
    """Read a folder of pictures, each brought to the source's size; see `read_folder`."""
    return read_folder(source)


def image_size(source: Source) -> int | None:
    """The edge that all its pictures have, told by some of them; None where they differ."""
    return common_size_of(find_pictures(Path(source.location)).files)
