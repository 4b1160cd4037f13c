"""Places365's validation pictures (``val_256``), or any folder of Places pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from study.data.images import NO_LABEL, ImageSet
from study.data.pictures import read_folder, read_pictures
from study.data.published import lines
from study.data.sources import Source
from study.errors import BadInput, Fault

FORMAT = {
    "marks": ["places365_val.txt", "categories_places365.txt", "val_256", "val_large"],
    "unmarked": True,
    "sets": {"places365": ["places365", "Places365"]},
}


def read(source: Source) -> ImageSet:
    """Read the pictures, grey-scale ones as RGB with equal channels: some are so by nature.

    With ``places365_val.txt`` they are labelled, and with ``categories_places365.txt``, where
    each category stands beside its number, the labels are named.

    Raises:
        BadInput: naming each line of the lists that cannot be read and each picture that cannot
            be used.
    """
    root, source = Path(source.location), replace(source, grey=True)
    folder = next((root / sub for sub in ("val_256", "val_large") if (root / sub).is_dir()), root)
    listing, categories = root / "places365_val.txt", root / "categories_places365.txt"
    if not listing.exists():
        return read_folder(source, folder)
    rows = _numbered(listing)
    # "/a/airport_terminal 2": the path's first part is an initial, not a word
    named = {}
    if categories.exists():
        named = {number: name[3:] for name, number in _numbered(categories)}
    files = [folder / file.lstrip("/") for file, _ in rows]
    ids = [file for file, _ in rows]
    unknown = sorted({number for _, number in rows} - set(named))
    if named and unknown:
        rule = f"names no category {', '.join(map(str, unknown[:5]))}, which {listing.name} has"
        raise BadInput(Fault(str(categories), "", rule, "Fetch it again."))
    order = sorted(named)
    place = {number: index for index, number in enumerate(order)}
    labels = [place.get(number, NO_LABEL) for _, number in rows]
    classes = [named[number] for number in order]
    return read_pictures(source, files, folder, ids=ids, labels=labels, classes=classes)


def _numbered(path: Path) -> list[tuple[str, int]]:
    """The lines ``NAME NUMBER`` of a list."""
    rows = [(number, line.rsplit(None, 1)) for number, line in enumerate(lines(path), 1) if line]
    rule, way_out = "must be 'NAME NUMBER'", "Fetch it again."
    faults = [
        Fault(str(path), f"line {number}", rule, way_out, " ".join(row))
        for number, row in rows
        if len(row) != 2 or not row[1].isdigit()
    ]
    if faults:
        raise BadInput(faults[:5])
    return [(name, int(number)) for _, (name, number) in rows]
