"""iSUN as a folder of pictures, as the OOD literature hands it out."""

from __future__ import annotations

from study.data.images import ImageSet
from study.data.pictures import read_folder
from study.data.sources import Source

FORMAT = {"sets": {"isun": ["iSUN", "isun"]}}


def read(source: Source) -> ImageSet:
    """Read the folder; see `read_folder`."""
    return read_folder(source)
