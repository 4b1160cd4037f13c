"""Places365's validation pictures (``val_256``), or any folder of Places pictures."""

from __future__ import annotations

from pathlib import Path

from study.data.decode import DecodeRule
from study.data.images import NO_LABEL, ImageSet
from study.data.pictures import read_folder, read_pictures
from study.data.published import lines
from study.data.sources import Source
from study.errors import BadInput, Fault

FORMAT = {"sets": {"places365": ["places365", "Places365"]}}


def read(source: Source) -> ImageSet:
    """Read the pictures, grey-scale ones as RGB with equal channels: some are so by nature.

    With ``places365_val.txt`` and ``categories_places365.txt`` beside them they are labelled.

    Raises:
        BadInput: naming each picture that cannot be used.
    """
    root = Path(source.location)
    folder = next((root / sub for sub in ("val_256", "val_large") if (root / sub).is_dir()), root)
    listing = root / "places365_val.txt"
    if not listing.exists():
        return read_folder(source, folder, grey=True)
    rows = [line.rsplit(" ", 1) for line in lines(listing) if line]
    if any(len(row) != 2 or not row[1].isdigit() for row in rows):
        raise BadInput(Fault(str(listing), "", "must hold lines 'FILE NUMBER'", "Fetch it again."))
    categories = root / "categories_places365.txt"
    # "/a/airport_terminal 2": the path's first part is an initial, not a word
    names = [line.rsplit(" ", 1)[0][3:] for line in lines(categories) if line]
    labels = [int(number) if names else NO_LABEL for _, number in rows]
    files = [folder / file.lstrip("/") for file, _ in rows]
    ids = [file for file, _ in rows]
    rule = DecodeRule(source.image_size, resize=True, grey=True)
    return read_pictures(files, folder, source.name, rule, ids=ids, labels=labels, classes=names)
