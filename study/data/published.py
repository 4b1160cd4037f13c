"""Files of published data sets: their checksums, and their lists."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from study.contents import STAND_INS, kind_of
from study.data.texts import text_lines
from study.errors import BadInput, Fault


def check_files(files: Iterable[tuple[Path, str]]) -> None:
    """Refuse published files, each with its MD5, that are not what was published.

    Raises:
        BadInput: naming each file that is missing, empty or damaged.
    """
    faults = []
    for path, md5 in files:
        if not path.is_file():
            rule = "is missing"
        elif path.stat().st_size == 0:
            rule = "is an empty file"
        elif _md5(path) != md5:
            rule = "is damaged or truncated: its checksum is not the published one"
            rule = f"is {kind}" if (kind := kind_of(path)) in STAND_INS else rule
        else:
            continue
        faults.append(Fault(str(path), "", rule, "Fetch the data set again."))
    if faults:
        raise BadInput(faults)


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def lines(path: Path) -> list[str]:
    """The lines of a published list, without the white space around them.

    Raises:
        BadInput: for a list that cannot be read or is empty.
    """
    found = text_lines(path, "text", "Fetch the data set again.")
    if not any(found):
        raise BadInput(Fault(str(path), "", "is an empty list", "Fetch the data set again."))
    return [line.strip() for line in found]
