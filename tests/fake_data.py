"""Small image files and data sections for tests of study.data."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from study.data.images import ImageSet


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


def section(**changes: Any) -> Any:
    """What study.spec's DataSection offers, without its checks."""
    values = {
        "id": "auto",
        "outliers": "auto",
        "ood_val": "auto",
        "ood_test": "auto",
        "val_fraction": 0.25,
        "split_seed": 0,
        "confirm_fraction": 0.0,
        "image_size": 32,
        "outlier_id_classes": "refuse",
        "leaks": "stop",
        "id_near_duplicates": "keep",
    }
    return SimpleNamespace(**(values | changes))


def image_set(num: int, num_classes: int = 2, **changes: Any) -> ImageSet:
    """Random labelled pictures, 8x8."""
    values: dict[str, Any] = {"labels": np.arange(num) % num_classes} | changes
    return ImageSet.make("toy", noise(num, size=8), **values)
