"""Texts beside images: lists of pictures, names of classes."""

from __future__ import annotations

from pathlib import Path

from study.contents import TEXT, instead_of
from study.errors import BadInput, Fault


def text_lines(path: Path, what: str, way_out: str) -> list[str]:
    """The lines of a text in UTF-8, with a byte order mark or without.

    Args:
        path: of the file.
        what: it should be, for the message.
        way_out: likewise.

    Raises:
        BadInput: where it cannot be read, or is another thing.
    """
    try:
        content = path.read_bytes()
        other = instead_of(TEXT, content)
        if not other:
            return content.decode("utf-8-sig").splitlines()
        reason = f"it is {other}"
    except (OSError, UnicodeDecodeError) as error:
        reason = str(error)
    raise BadInput(Fault(str(path), "", f"cannot be read as {what} ({reason})", way_out))
