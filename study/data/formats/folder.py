"""Folders of pictures: ``FOLDER/*.png`` or ``FOLDER/<class>/**/*.png``."""

from __future__ import annotations

from study.data.images import ImageSet
from study.data.pictures import read_folder
from study.data.sources import Source

FORMAT = {"any_folder": True}


def read(source: Source) -> ImageSet:
    """Read a folder of pictures, each brought to the source's size; see `read_folder`."""
    return read_folder(source)
