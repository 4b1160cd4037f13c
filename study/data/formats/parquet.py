"""Image sets in Parquet, as data-set libraries and hubs keep them (Hugging Face's layout).

A set is a file, the numbered shards of one (``train-00000-of-00002.parquet`` ...), or a folder of
files. Columns: the images, ``img`` or ``image`` or the only one of its kind, struct(bytes, path)
or binary; ``label``, ``labels``, ``fine_label`` or the only column that the metadata call a
ClassLabel, optional: integers of any kind (-1 or null: none) or text, which names the class;
``group``, string, optional. Names of integer labels: schema metadata ``classes``
(newline-separated), or Hugging Face's own ``huggingface`` JSON; the same in every file of a set.

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
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from study.contents import PARQUET, instead_of
from study.counted import some
from study.data.decode import codec_of, common_size, decode_cached, rule_of
from study.data.file_formats import parts_of
from study.data.images import NO_LABEL, ImageSet
from study.data.sources import Source
from study.data.walk import entries
from study.errors import BadInput, Fault, gathered

FORMAT = {"suffixes": [".parquet"], "marks": ["*.parquet"]}
_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "labels", "fine_label")
_MOST_COLUMNS = 4  # of those that are not read are told
_CROP = re.compile(r"(?P<source>.+)/\d+")
_FETCH = "It may be truncated: fetch it again."


@dataclass(frozen=True, eq=False)
class _Part:
    """One file: hash of its content, encoded images, their paths and groups, labels and names."""

    path: Path
    content_hash: str
    encoded: pa.Array
    paths: list[str]
    groups: list[str | None]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    by_text: bool  # whether rows name their classes themselves
    unread: tuple[str, ...]  # columns that might be meant as the label, where there is none


def read(source: Source) -> ImageSet:
    """Read a file, its shards, or a folder of files.

    Raises:
        BadInput: naming the files, and the row where one is at fault.
    """
    files, left_out = _files(Path(source.location))
    parts: list[_Part] = []
    faults: list[Fault] = []
    for path in files:
        with gathered(faults):
            parts.append(_part(path))
    if faults:
        raise BadInput(faults)
    parts = _numbered_alike(parts)
    pixels = []
    for part in parts:
        with gathered(faults):
            pixels.append(_decoded(part, source))
    if faults:
        raise BadInput(faults)
    paths = [path for part in parts for path in part.paths]
    ids = row_ids(paths)
    groups = [group for part in parts for group in part.groups]
    encoded = [one.as_py() for part in parts for one in _some(part.encoded)]
    codecs = {codec_of(data) for data in encoded}
    if unread := parts[0].unread:
        column = "column" if len(unread) == 1 else "columns"
        told = some(unread, _MOST_COLUMNS)
        left_out = (*left_out, (f"{column} not named as a label is ({told})", len(unread)))
    return ImageSet.make(
        source.name,
        pixels[0] if len(pixels) == 1 else np.concatenate(pixels),
        labels=np.concatenate([part.labels for part in parts]),
        ids=ids,
        groups=[row if group is None else group for row, group in zip(ids, groups, strict=True)],
        classes=parts[0].classes,
        provenance=source.location,
        codec=codecs.pop() if len(codecs) == 1 else "mixed",
        left_out=left_out,
    )


def image_size(source: Source) -> int | None:
    """The edge that all its pictures have, told by some of them; None where they differ."""
    files, _ = _files(Path(source.location))
    return common_size(one.as_py() for path in files for one in _some(_part(path).encoded))


def picture_cut(path: str) -> str | None:
    """The picture that a row's path says it was cut from (rule 2 above), if it does."""
    crop = _CROP.fullmatch(path)
    return crop["source"] if crop else None


def row_ids(paths: list[str]) -> list[str]:
    """The paths where they are there and unique; else with the row's number before them."""
    if all(paths) and len(set(paths)) == len(paths):
        return paths
    return [f"{row:06d}:{path}" if path else f"{row:06d}" for row, path in enumerate(paths)]


def _files(location: Path) -> tuple[list[Path], tuple[tuple[str, int], ...]]:
    """The files of a set, and what else lies in its folder."""
    if not location.is_dir():
        return parts_of(location), ()
    there = entries(location)
    files = [path for path in there if path.suffix.lower() == ".parquet" and path.is_file()]
    if not files:
        rule = "holds no Parquet file"
        raise BadInput(Fault(str(location), "", rule, "Check the path."))
    for path in files:
        parts_of(path)  # its shards are all there
    others = Counter(f"no Parquet ({path.suffix or path.name})" for path in there)
    others.pop("no Parquet (.parquet)", None)
    return files, tuple(sorted(others.items()))


def _part(path: Path) -> _Part:
    content, table = _open(path)
    both = [name for name in _IMAGE_COLUMNS if name in table.schema.names]
    if len(both) > 1 and all(_is_image(table.schema.field(name).type) for name in both):
        rule = f"has images in columns {' and '.join(both)}"
        raise BadInput(Fault(str(path), "", rule, "Leave the one that is meant."))
    column = _image_column(table)
    if not table.num_rows:
        raise BadInput(Fault(str(path), "", "holds no image", "Name a set that has some."))
    if column is None:
        has = [
            f"{one.name} of {one.type}" if one.name in both else one.name for one in table.schema
        ]
        rule = f"needs a column img or image of struct(bytes, path), has {', '.join(has)}"
        way_out = "Export it in Hugging Face's image layout, the pictures' bytes in it."
        raise BadInput(Fault(str(path), "", rule, way_out))
    images = table[column].combine_chunks()
    encoded = images.field("bytes") if pa.types.is_struct(images.type) else images
    labelled = _label_column(path, table)
    labels, classes = _labels(path, table, labelled)
    by_text = labelled is not None and not _is_number(table[labelled].type)
    paths = [""] * table.num_rows
    if pa.types.is_struct(images.type) and images.type.get_field_index("path") >= 0:
        paths = _texts(path, "path", images.field("path"))
    groups: list[str | None] = [picture_cut(one) for one in paths]
    if "group" in table.schema.names:
        texts = _texts(path, "group", table["group"].combine_chunks())
        groups = [text or None for text in texts]
    digest = hashlib.sha256(content).hexdigest()
    unread = [name for name in table.schema.names if name not in (column, labelled, "group")]
    told = () if labelled else tuple(unread)
    return _Part(path, digest, encoded, paths, groups, labels, classes, by_text, told)


def _decoded(part: _Part, source: Source) -> npt.NDArray[np.uint8]:
    return decode_cached(
        lambda: part.encoded.to_pylist(),
        part.content_hash,
        rule_of(source),
        str(part.path),
        lambda row: f"row {row}" + (f" ({part.paths[row]})" if part.paths[row] else ""),
    )


def _open(path: Path) -> tuple[bytes, pa.Table]:
    try:
        content = path.read_bytes()
    except OSError as error:
        rule = f"cannot be read: {error.strerror}"
        raise BadInput(Fault(str(path), "", rule, "Check the path.")) from None
    if not content:
        raise BadInput(Fault(str(path), "", "is an empty file", "Fetch it again."))
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read()
    except (pa.ArrowException, OSError) as error:
        reason, other = str(error).splitlines()[0], instead_of(PARQUET, content)
        rule = f"is not a whole Parquet file ({f'it is {other}' if other else reason})"
        way_out = "Name a file that is one." if other else _FETCH
        raise BadInput(Fault(str(path), "", rule, way_out)) from None
    twice = [name for name, number in Counter(table.schema.names).items() if number > 1]
    if twice:
        rule = f"has two columns {twice[0]}"
        raise BadInput(Fault(str(path), "", rule, "Leave the one that is meant."))
    return content, table


def _image_column(table: pa.Table) -> str | None:
    named = [name for name in _IMAGE_COLUMNS if name in table.schema.names]
    if named and _is_image(table.schema.field(named[0]).type):
        return named[0]
    kinds = {field.name: field.type for field in table.schema}
    others = [name for name, kind in kinds.items() if pa.types.is_struct(kind) and _is_image(kind)]
    return others[0] if len(others) == 1 and not named else None


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_image(kind.field("bytes").type)
    return kind in (pa.binary(), pa.large_binary(), pa.binary_view())


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def _texts(path: Path, name: str, column: pa.Array) -> list[str]:
    """A column's texts, "" for null; numbers as they are written.

    Raises:
        BadInput: for a column of anything else, and naming the first row that is not UTF-8.
    """
    if pa.types.is_floating(column.type):
        column = _with_gaps(column)
    if not _is_text(column.type):
        try:
            column = column.cast(pa.string())
        except pa.ArrowException as error:
            rule = f"column {name} must hold texts, holds {column.type} ({error})"
            raise BadInput(Fault(str(path), "", rule, "Write texts, or take it out.")) from None
    texts = []
    for row, value in enumerate(column):
        try:
            texts.append(value.as_py() or "")
        except UnicodeDecodeError as error:
            rule = f"holds a text that is not UTF-8 ({error.reason})"
            raise BadInput(Fault(str(path), f"row {row}", rule, "Write it as UTF-8.")) from None
    return texts


def _with_gaps(numbers: pa.Array) -> pa.Array:
    """Whole numbers with gaps come from pandas as floats, and the gaps as NaN: null here."""
    return pa.array(numbers.to_numpy(zero_copy_only=False), from_pandas=True)


def _is_number(kind: pa.DataType) -> bool:
    """Null too, which is what pandas makes of a column without any label."""
    number = (pa.types.is_integer, pa.types.is_floating, pa.types.is_null)
    return any(one(kind) for one in number)


def _label_column(path: Path, table: pa.Table) -> str | None:
    named = next((name for name in _LABEL_COLUMNS if name in table.schema.names), None)
    if named is not None:
        return named
    features = _features(path, table)
    marked = [name for name, one in features.items() if _feature_names(one) is not None]
    return marked[0] if len(marked) == 1 and marked[0] in table.schema.names else None


def _labels(
    path: Path, table: pa.Table, column: str | None
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Labels of the rows, and the class names that they count."""
    if column is None:
        none = np.full(table.num_rows, NO_LABEL, dtype=np.int64)
        return none, tuple(_class_names(path, table, ""))
    values = table[column].combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if _is_text(values.type):
        texts = _texts(path, column, values)
        told = tuple(sorted(set(texts) - {""}))
        number = {name: index for index, name in enumerate(told)} | {"": NO_LABEL}
        return np.array([number[text] for text in texts], dtype=np.int64), told
    if pa.types.is_floating(values.type):
        values = _with_gaps(values)
    elif not _is_number(values.type):
        rule = f"column {column} must hold integers or class names, holds {values.type}"
        raise BadInput(Fault(str(path), "", rule, "Number the classes; -1 is no label."))
    try:
        filled = values.cast(pa.int64()).fill_null(NO_LABEL)
    except pa.ArrowInvalid as error:
        rule = f"column {column} holds a number that is no label ({error})"
        raise BadInput(Fault(str(path), "", rule, "Number the classes; -1 is no label.")) from None
    labels: npt.NDArray[np.int64] = filled.to_numpy(zero_copy_only=False).astype(np.int64)
    classes = tuple(_class_names(path, table, column))
    outside = np.flatnonzero((labels < NO_LABEL) | ((labels >= len(classes)) & bool(classes)))
    if outside.size:
        row = int(outside[0])
        rule = f"label {labels[row]} has no name among the file's {len(classes)} classes"
        rule = rule if classes else f"label {labels[row]} must be 0 or more, or -1 for none"
        raise BadInput(Fault(str(path), f"row {row}", rule, "Mend the label or the class names."))
    return labels, classes


def _class_names(path: Path, table: pa.Table, column: str) -> list[str]:
    """The names that the metadata give, by label.

    Raises:
        BadInput: for metadata that are no text, and a name that stands twice.
    """
    text = _metadata(path, table, b"classes")
    names = [line.strip() for line in text.splitlines() if line.strip()]
    names = names or _feature_names(_features(path, table).get(column)) or []
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        rule = f"names class '{twice[0]}' twice"
        raise BadInput(Fault(str(path), "metadata", rule, "Give each class a name of its own."))
    return names


def _features(path: Path, table: pa.Table) -> dict[str, Any]:
    """What the ``huggingface`` metadata say of the columns; nothing where there are none."""
    text = _metadata(path, table, b"huggingface")
    if not text:
        return {}
    try:
        features = json.loads(text)["info"]["features"]
    except ValueError as error:
        rule = f"key huggingface is not JSON ({error})"
        way_out = "Export the set again, or take the key out."
        raise BadInput(Fault(str(path), "metadata", rule, way_out)) from None
    except (KeyError, TypeError):
        return {}  # what it says is optional, and so are class names in it
    return features if isinstance(features, dict) else {}


def _feature_names(feature: Any) -> list[str] | None:
    names = feature.get("names") if isinstance(feature, dict) else None
    if isinstance(names, dict) and names.keys() == {*map(str, range(len(names)))}:
        names = [names[str(label)] for label in range(len(names))]  # {"0": "cat", ...}
    return [str(name) for name in names] if isinstance(names, list) else None


def _metadata(path: Path, table: pa.Table, key: bytes) -> str:
    value: bytes = (table.schema.metadata or {}).get(key, b"")
    try:
        return value.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        rule = f"key {key.decode()} is not UTF-8 ({error.reason} at byte {error.start})"
        way_out = "Write it as UTF-8, or take the key out."
        raise BadInput(Fault(str(path), "metadata", rule, way_out)) from None


def _numbered_alike(parts: list[_Part]) -> list[_Part]:
    """The files of a set with labels that count the same classes.

    Raises:
        BadInput: naming each file whose class names are not those of the first, in their order.
    """
    if all(part.by_text for part in parts):
        classes = tuple(sorted({name for part in parts for name in part.classes}))
        renumbered = []
        for part in parts:
            number = np.array([*map(classes.index, part.classes), NO_LABEL], dtype=np.int64)
            renumbered.append(replace(part, labels=number[part.labels], classes=classes))
        return renumbered
    first, *others = parts
    way_out = "Export all files of a set together."
    faults = [
        Fault(
            str(part.path),
            "",
            f"names other classes than {first.path.name}, or in another order: "
            f"{list(part.classes)[:5]}, and there {list(first.classes)[:5]}",
            way_out,
        )
        for part in others
        if part.classes != first.classes or part.by_text != first.by_text
    ]
    if faults:
        raise BadInput(faults)
    return parts


def _some(column: pa.Array) -> list[Any]:
    return [column[row] for row in range(0, len(column), max(1, len(column) // 64))]
