"""Small image files and data sections for tests of study.data."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from study.data.images import ImageSet
from study.data.section import DataSection


def noise(num: int, seed: int = 0, size: int = 32) -> np.ndarray:
    """Random pictures, uint8 (num, size, size, 3)."""
    shape = (num, size, size, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """One picture as a file's contents."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def write_parquet(
    path: Path,
    rows: list[bytes | None],
    paths: list[str | None],
    labels: list[int],
    classes: tuple[str, ...] = (),
    column: str = "img",
    **more: list[Any],
) -> Path:
    """A file in Hugging Face's layout."""
    images = [{"bytes": data, "path": name} for data, name in zip(rows, paths, strict=True)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {column: pa.array(images, kind), "label": pa.array(labels, pa.int64()), **more}
    table = pa.table(columns).replace_schema_metadata({"classes": "\n".join(classes)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def write_set(path: Path, num: int, seed: int, classes: tuple[str, ...] = ()) -> Path:
    """A Parquet file of random PNGs, labels 0, 1, 2 ... where there are classes."""
    labels = [row % len(classes) if classes else -1 for row in range(num)]
    paths = [f"picture_{row}.png" for row in range(num)]
    return write_parquet(path, [encode(p) for p in noise(num, seed)], paths, labels, classes)


def write_root(root: Path) -> Path:
    """A data root with every role, four images to a class."""
    classes = ("airplane", "automobile", "bird")
    write_set(root / "cifar10" / "train.parquet", 24, 1, classes)
    write_set(root / "cifar10" / "test.parquet", 12, 2, classes)
    write_set(root / "outliers" / "things_train.parquet", 8, 3)
    write_set(root / "outliers" / "things_val.parquet", 8, 4)
    write_set(root / "ood_test" / "scenes.parquet", 8, 5)
    return root


def section(**changes: Any) -> DataSection:
    """A section ``data:`` for small sets of 32 pixels."""
    return DataSection(**({"val_fraction": 0.25, "image_size": 32} | changes))


COLOURS = {
    "apple": (205, 45, 45),
    "bridge": (45, 180, 70),
    "cloud": (60, 80, 215),
    "drum": (215, 200, 50),
}
"""Class -> the mean colour of its pictures: a wrong label shows in the pixels."""
KINDS = ("apple", "bridge", "cloud")


def picture(
    kind: str = "", seed: int = 0, size: tuple[int, int] = (32, 32), mode: str = "RGB"
) -> Image.Image:
    """Tiles around a class's colour, or around grey; other with each seed. Width, height."""
    generator = np.random.default_rng([seed, *kind.encode()])
    rows, columns = -(-size[1] // 4), -(-size[0] // 4)
    mean = np.array(COLOURS.get(kind, (128, 128, 128)))
    tiles = np.clip(mean + generator.integers(-45, 46, (rows, columns, 3)), 0, 255)
    whole = tiles.astype(np.uint8).repeat(4, 0).repeat(4, 1)[: size[1], : size[0]]
    return Image.fromarray(whole).convert(mode)


def save_pictures(
    folder: Path, count: int, kind: str = "", seed: int = 0, end: str = ".png", **how: Any
) -> Path:
    """``count`` pictures in a folder; no two of one seed and kind are alike."""
    folder.mkdir(parents=True, exist_ok=True)
    form = {".jfif": "JPEG", ".jpe": "JPEG"}.get(end.lower())
    for row in range(count):
        one = picture(kind, 1000 * seed + row, **how)
        one.save(folder / f"{row:02d}{end}", **({"format": form} if form else {}))
    return folder


def save_classes(folder: Path, count: int, kinds: Iterable[str] = KINDS, **how: Any) -> Path:
    """A folder of class folders, ``count`` pictures in each."""
    for kind in kinds:
        save_pictures(folder / kind, count, kind, **how)
    return folder


def class_table(
    count: int,
    numbers: Mapping[str, Any],
    kind: pa.DataType | None = None,
    column: str = "label",
    seed: int = 0,
    size: int = 32,
) -> pa.Table:
    """``count`` pictures of each class, labelled as ``numbers`` says; without names of classes."""
    rows = [(name, row) for name in numbers for row in range(count)]
    shown = [np.asarray(picture(name, 1000 * seed + row, (size, size))) for name, row in rows]
    images = [
        {"bytes": encode(one), "path": f"{seed}-{name}-{row}.png"}
        for one, (name, row) in zip(shown, rows, strict=True)
    ]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    labels = pa.array([numbers[name] for name, _ in rows], kind)
    return pa.table({"image": pa.array(images, struct), column: labels})


def save_table(
    path: Path, table: pa.Table, classes: Iterable[str] = (), features: Iterable[str] = ()
) -> Path:
    """Write a table with class names in the metadata, plain or as Hugging Face has them."""
    told: dict[str, str] = {"classes": "\n".join(classes)} if classes else {}
    if features:
        label = next(name for name in table.schema.names if name != "image")
        feature = {label: {"names": list(features), "_type": "ClassLabel"}}
        told["huggingface"] = json.dumps({"info": {"features": feature}})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(told or None), path)
    return path


def right_labels(images: ImageSet) -> bool:
    """Whether every label names the class whose colour the picture has."""
    names = [
        min(COLOURS, key=lambda name: float(np.abs(mean - np.array(COLOURS[name])).sum()))
        for mean in images.pixels.mean((1, 2))
    ]
    return [images.classes[label] for label in images.labels] == names


def image_set(num: int, num_classes: int = 2, **changes: Any) -> ImageSet:
    """Random labelled pictures, 8x8."""
    values: dict[str, Any] = {"labels": np.arange(num) % num_classes} | changes
    return ImageSet.make("toy", noise(num, size=8), **values)
