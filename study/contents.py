"""What a file holds, told by how it begins: of one that is not what its name says.

A download that failed leaves a page or a pointer under the right name, and suffixes are changed by
hand; whoever cannot read a file says what it is instead.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Final

ARRAY: Final = "a NumPy array (.npy)"
PARQUET: Final = "a Parquet file"
PICKLE: Final = "a pickle of Python's"
SAFETENSORS: Final = "weights in safetensors"
TEXT: Final = "text"
ZIP: Final = "a zip archive of folders, or of weights that torch saved"
_PAGE: Final = "a page (HTML), which a server sends where a download fails"
_POINTER: Final = "a pointer of Git LFS to the file (git lfs pull fetches that)"
STAND_INS: Final = frozenset((_PAGE, _POINTER))
"""What takes the place of a file that was not fetched."""

_BEGINNINGS: Final = {
    b"version https://git-lfs.github.com/": _POINTER,
    b"\x93NUMPY": ARRAY,
    b"PAR1": PARQUET,
    b"\x89PNG\r\n\x1a\n": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"\x89HDF\r\n": "an HDF5 file",
    b"MATLAB 5.0": "a MATLAB file",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "an SQLite database",
    codecs.BOM_UTF16_LE: "text in UTF-16",
    codecs.BOM_UTF16_BE: "text in UTF-16",
}
_MEDIA: Final = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"avif": "AVIF"}
_LOOKED_AT: Final = 1024  # bytes


def kind_of(content: bytes | Path) -> str:
    """What a file holds, as a noun; empty where its beginning says nothing.

    Args:
        content: of the file, or its beginning; or its path, and what cannot be opened says
            nothing either.
    """
    if isinstance(content, Path):
        try:
            with content.open("rb") as file:
                content = file.read(_LOOKED_AT)
        except OSError:
            return ""
    head = content[:_LOOKED_AT]
    for beginning, kind in _BEGINNINGS.items():
        if head.startswith(beginning):
            return kind
    if head.startswith(b"PK\x03\x04"):
        return _zipped(head)
    if head[257:262] == b"ustar":
        return "a tar archive"
    if head[4:8] == b"ftyp":
        form = _MEDIA.get(head[8:12])
        return f"a picture in {form}" if form else "a film (MP4 or its like)"
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return PICKLE
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return SAFETENSORS
    if head and not head.strip(b"\0"):
        return "nothing but zeros"
    return _text(head)


def instead_of(meant: str, content: bytes | Path) -> str:
    """``kind_of`` a file that should be of the kind ``meant``; empty where it is, or may be."""
    kind = kind_of(content)
    return "" if kind == meant else kind


def _zipped(head: bytes) -> str:
    """What a zip archive holds, by the name of its first file: torch's lie in a folder."""
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if name.endswith(b".npy"):
        return "a zip archive of NumPy arrays (.npz)"
    return ZIP if b"/" in name else "a zip archive of files"


def _text(head: bytes) -> str:
    """What a text is, or nothing where these bytes are none."""
    try:
        whole = len(head) < _LOOKED_AT  # else its end may cut a letter
        text = codecs.getincrementaldecoder("utf-8")().decode(head, final=whole)
    except UnicodeDecodeError:
        return ""
    plain = text.lstrip("\ufeff \t\r\n").lower()
    if plain.startswith(("<!doctype html", "<html")):
        return _PAGE
    if "<svg" in plain:
        return "an SVG drawing"
    return TEXT if text and all(one.isprintable() or one.isspace() for one in text) else ""
