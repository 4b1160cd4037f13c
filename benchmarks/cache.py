"""What checking the cache costs: the checksum of a file when it is mapped, and the memo after it.

    python benchmarks/cache.py --megabytes 300

One line a way: seconds of CPU, the least of the repeats (reading comes from the page cache, as it
does for all but the first process of a machine), and GB/s.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from study.records.cached import load_array, save_array


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    size = options.megabytes * 1_000_000
    with tempfile.TemporaryDirectory(prefix="cache-") as folder:
        os.environ["OOD_STUDY_CACHE"] = folder
        path = Path(folder) / "decoded" / "images.npy"
        save_array(path, np.random.default_rng(0).integers(0, 256, size, np.uint8))

        def anew() -> None:
            os.utime(path)  # another time of change: nothing is known of it
            load_array(path)

        ways: dict[str, Callable[[], object]] = {
            "first reading, checked": anew,
            "later readings of a process": lambda: load_array(path),
            "SHA-256, for comparison": lambda: hashlib.sha256(path.read_bytes()).digest(),
        }
        for name, way in ways.items():
            least = min(_seconds(way) for _ in range(options.repeats))
            told = f"{name:<28}{least * 1000:9.2f} ms{size / least / 1e9:12.1f} GB/s\n"
            sys.stdout.write(told)


def _seconds(way: Callable[[], object]) -> float:
    begun = time.process_time()
    way()
    return time.process_time() - begun


if __name__ == "__main__":
    main()
