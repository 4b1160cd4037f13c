"""LSUN as folders of pictures, as the OOD literature hands it out (LSUN_C, LSUN_resize)."""

from __future__ import annotations

from pathlib import Path

from study.data.images import ImageSet
from study.data.pictures import read_folder
from study.data.sources import Source
from study.errors import BadInput, Fault

FORMAT = {
    "marks": ["*_lmdb"],  # told and refused below
    "unmarked": True,
    "sets": {
        "lsun": ["LSUN", "lsun"],
        "lsun_c": ["LSUN_C", "lsun_c"],
        "lsun_resize": ["LSUN_resize", "lsun_resize"],
    },
}


def read(source: Source) -> ImageSet:
    """Read the folder; see `read_folder`.

    Raises:
        BadInput: for torchvision's lmdb form, and naming each picture that cannot be used.
    """
    root = Path(source.location)
    databases = sorted(path.name for path in root.glob("*_lmdb")) if root.is_dir() else []
    if databases:
        rule = f"holds lmdb databases ({', '.join(databases)}), which are not read here"
        raise BadInput(Fault(str(root), "", rule, "Export their pictures to a folder."))
    return read_folder(source)
