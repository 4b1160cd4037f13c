"""Seven classes of textures as an ID set, with crops of objects as OOD: a data root to study.

    python benchmarks/textures.py --data-root ../shared/data --out data_textures

Of each class 30 of its 120 pictures, drawn by a seed, are the ID test, the others training and
validation: one set cut in two, since there is no test set of these classes elsewhere. Objects are
outliers, OOD validation and OOD test as in the development data, of which every eighth and fourth
crop is taken: all this is small. ``docs/results.md`` has the studies.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from study.seeding import numpy_generator

NUM_TEST = 30  # of each class
# Role -> file of the development data, and every how many of its crops is taken.
OBJECTS = {
    "outliers/objects_train.parquet": ("outliers/objects_train.parquet", 8),
    "ood_val/objects.parquet": ("outliers/objects_val.parquet", 4),
    "ood_test/objects.parquet": ("ood_test/objects.parquet", 4),
}


def main() -> None:
    """Write class folders and Parquet files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    table = pq.read_table(options.data_root / "ood_test" / "textures.parquet")
    by_class: dict[str, list[dict[str, Any]]] = {}
    for one in table["img"].to_pylist():
        by_class.setdefault(one["path"].split("/")[0], []).append(one)
    for name, own in by_class.items():
        order = numpy_generator(0, "textures", name).permutation(len(own))
        for place, row in enumerate(order):
            split = "test" if place < NUM_TEST else "train"
            file = options.out / "id" / split / str(own[row]["path"])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(own[row]["bytes"])
    for role, (source, step) in OBJECTS.items():
        crops = pq.read_table(options.data_root / source)
        (options.out / role).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(crops.take(list(range(0, len(crops), step))), options.out / role)
    told = {name: len(own) for name, own in by_class.items()}
    print(f"{options.out}: {told}, of each {NUM_TEST} in id/test")


if __name__ == "__main__":
    main()
