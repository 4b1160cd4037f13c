"""Image sets in Hugging Face's Parquet layout.

Columns: ``img`` or ``image``, struct(bytes, path); ``label``, ``labels`` or ``fine_label``,
integer, optional (-1: none); ``group``, string, optional. Class names: schema metadata ``classes``
(newline-separated), or Hugging Face's own ``huggingface`` JSON.

The source group of a row, which splits and bootstraps go by, is

1. its ``group``, where the file has that column; else
2. what stands before the last slash of its path, where the last part is a bare number
   (``n03764736_milk_can/5`` is crop 5 of the picture ``n03764736_milk_can``); else
3. the row itself (``train/cat/0631.jpg`` and ``banded/banded_0002.jpg`` are files of their own,
   and the part before the slash is a class).
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from study.data.decode import DecodeRule, codec_of, decode_cached
from study.data.images import NO_LABEL, ImageSet
from study.data.sources import Source
from study.errors import BadInput, Fault

FORMAT = {"suffixes": [".parquet"]}
_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "labels", "fine_label")
_CROP = re.compile(r"(?P<source>.+)/\d+")


def read(source: Source) -> ImageSet:
    """Read one Parquet file; every image must be RGB of the source's size.

    Raises:
        BadInput: naming the file, and the row where one is at fault.
    """
    path = Path(source.location)
    content, table = _open(path)
    image_column = _column(table, _IMAGE_COLUMNS)
    if image_column is None or not _is_image_struct(table.schema.field(image_column).type):
        rule = f"needs a column img or image of struct(bytes, path), has {table.schema.names}"
        raise BadInput(Fault(str(path), "", rule, "Export it in Hugging Face's image layout."))
    if not table.num_rows:
        raise BadInput(Fault(str(path), "", "holds no image", "Name a set that has some."))
    images = table[image_column].combine_chunks()
    paths = _text(images, "path")
    labels = _labels(path, table)
    encoded = images.field("bytes")
    pixels = decode_cached(
        lambda: encoded.to_pylist(),
        hashlib.sha256(content).hexdigest(),
        DecodeRule(source.image_size),
        str(path),
        lambda row: f"row {row}" + (f" ({paths[row]})" if paths[row] else ""),
    )
    ids = row_ids(paths)
    named = zip(ids, _groups(table, paths), strict=True)
    groups = [row if group is None else group for row, group in named]
    codecs = {codec_of(encoded[row].as_py()) for row in _some_rows(table.num_rows)}
    return ImageSet.make(
        source.name,
        pixels,
        labels=labels,
        ids=ids,
        groups=groups,
        classes=_class_names(path, table, labels),
        provenance=str(path),
        codec=codecs.pop() if len(codecs) == 1 else "mixed",
    )


def picture_cut(path: str) -> str | None:
    """The picture that a row's path says it was cut from (rule 2 above), if it does."""
    crop = _CROP.fullmatch(path)
    return crop["source"] if crop else None


def row_ids(paths: list[str]) -> list[str]:
    """The paths where they are there and unique; else with the row's number before them."""
    if all(paths) and len(set(paths)) == len(paths):
        return paths
    return [f"{row:06d}:{path}" if path else f"{row:06d}" for row, path in enumerate(paths)]


def _open(path: Path) -> tuple[bytes, pa.Table]:
    try:
        content = path.read_bytes()
    except OSError as error:
        rule = f"cannot be read: {error.strerror}"
        raise BadInput(Fault(str(path), "", rule, "Check the path.")) from None
    if not content:
        raise BadInput(Fault(str(path), "", "is an empty file", "Fetch it again."))
    try:
        return content, pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        rule = f"is not a whole Parquet file ({reason})"
        way_out = "It may be truncated: fetch it again."
        raise BadInput(Fault(str(path), "", rule, way_out)) from None


def _column(table: pa.Table, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in table.schema.names), None)


def _is_image_struct(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    return kind.field("bytes").type in (pa.binary(), pa.large_binary())


def _text(images: pa.StructArray, field: str) -> list[str]:
    if images.type.get_field_index(field) < 0:
        return [""] * len(images)
    return [text or "" for text in images.field(field).to_pylist()]


def _groups(table: pa.Table, paths: list[str]) -> list[str | None]:
    if "group" in table.schema.names:
        return [None if group is None else str(group) for group in table["group"].to_pylist()]
    return [picture_cut(path) for path in paths]


def _labels(path: Path, table: pa.Table) -> npt.NDArray[np.int64]:
    column = _column(table, _LABEL_COLUMNS)
    if column is None:
        return np.full(table.num_rows, NO_LABEL, dtype=np.int64)
    kind = table.schema.field(column).type
    if not pa.types.is_integer(kind):
        rule = f"column {column} must hold integers, holds {kind}"
        raise BadInput(Fault(str(path), "", rule, "Number the classes; -1 is no label."))
    filled = table[column].combine_chunks().fill_null(NO_LABEL)
    labels: npt.NDArray[np.int64] = filled.to_numpy(zero_copy_only=False).astype(np.int64)
    return labels


def _class_names(path: Path, table: pa.Table, labels: npt.NDArray[np.int64]) -> list[str]:
    metadata = table.schema.metadata or {}
    names = [line for line in metadata.get(b"classes", b"").decode().splitlines() if line.strip()]
    if not names and b"huggingface" in metadata:
        names = _hugging_face_names(metadata[b"huggingface"], _column(table, _LABEL_COLUMNS))
    outside = np.flatnonzero((labels >= len(names)) | (labels < NO_LABEL))
    if names and outside.size:
        row = int(outside[0])
        rule = f"label {labels[row]} has no name among the file's {len(names)} classes"
        raise BadInput(Fault(str(path), f"row {row}", rule, "Mend the label or the class names."))
    return names


def _hugging_face_names(text: bytes, column: str | None) -> list[str]:
    try:
        feature: Any = json.loads(text)["info"]["features"][column]
        return [str(name) for name in feature["names"]]
    except (ValueError, KeyError, TypeError):
        return []  # the JSON is optional, and so are class names in it


def _some_rows(num_rows: int) -> range:
    return range(0, num_rows, max(1, num_rows // 64))
