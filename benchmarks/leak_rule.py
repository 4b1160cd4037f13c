"""How often the near-duplicate rule errs: false positives and missed copies.

    python benchmarks/leak_rule.py --data-root ../shared/data

False positives: every pair between sets that cannot share a picture (CIFAR-10 against crops of
ImageNet images and textures; crops of different source images against each other). Missed
copies: altered copies are planted beside the other images of a set and searched for, end to end.
Intervals: Clopper-Pearson, 95 %. Takes about two minutes on one core. The numbers of the last run
stand in the docstring of study/data/leaks/check.py.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.stats import binomtest

from study.data.file_formats import read_source
from study.data.images import Pixels
from study.data.leaks.near_duplicates import Descriptors, Likeness, describe, find_near_duplicates
from study.data.sources import Source

FILES = {
    "cifar10_train": "cifar10/train.parquet",
    "cifar10_test": "cifar10/test.parquet",
    "objects_train": "outliers/objects_train.parquet",
    "objects_val": "outliers/objects_val.parquet",
    "objects": "ood_test/objects.parquet",
    "scenes": "ood_test/scenes.parquet",
    "textures": "ood_test/textures.parquet",
}
NUM_PLANTED = 1000  # from each of three sets
PLANTED_FROM = ("cifar10_test", "objects_train", "textures")

Generator = np.random.Generator
Alteration = Callable[[Pixels, Generator], Pixels]


def each(change: Callable[[Image.Image, Generator], Image.Image]) -> Alteration:
    """An alteration of one picture as one of many."""

    def altered(pixels: Pixels, generator: Generator) -> Pixels:
        return np.stack([np.asarray(change(Image.fromarray(p), generator)) for p in pixels])

    return altered


def jpeg(quality: int) -> Alteration:
    """Re-encode as JPEG with 4:2:0 colour."""

    def encode(image: Image.Image, _: Generator) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, subsampling=2)
        return Image.open(buffer)

    return each(encode)


def flip(pixels: Pixels, _: Generator) -> Pixels:
    """Mirror horizontally."""
    return pixels[:, :, ::-1].copy()


def shift(distance: int) -> Alteration:
    """Move by ``distance`` pixels in one or both directions, repeating the edge."""

    def move(image: Image.Image, generator: Generator) -> Image.Image:
        moves = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
        y, x = moves[generator.integers(len(moves))]
        pad = ((distance, distance), (distance, distance), (0, 0))
        padded = np.pad(np.asarray(image), pad, mode="edge")
        top, left = distance * (1 + y), distance * (1 + x)
        return Image.fromarray(padded[top : top + image.height, left : left + image.width])

    return each(move)


def brightness(pixels: Pixels, generator: Generator) -> Pixels:
    """Brighten or darken by 30 %, clipping."""
    gain = generator.choice([0.7, 1.3], size=(len(pixels), 1, 1, 1))
    brighter: Pixels = np.clip(np.rint(pixels * gain), 0, 255).astype(np.uint8)
    return brighter


def crop_resize(edge: int) -> Alteration:
    """A random crop of ``edge`` pixels, brought back to the old size."""

    def crop(image: Image.Image, generator: Generator) -> Image.Image:
        top, left = generator.integers(0, image.height - edge + 1, size=2)
        part = image.crop((left, top, left + edge, top + edge))
        return part.resize(image.size, Image.Resampling.BILINEAR)

    return each(crop)


def chain(*steps: Alteration) -> Alteration:
    """One alteration after the other."""

    def all_steps(pixels: Pixels, generator: Generator) -> Pixels:
        for step in steps:
            pixels = step(pixels, generator)
        return pixels

    return all_steps


ALTERATIONS: dict[str, Alteration] = {
    "exact": chain(),
    "flip": flip,
    "JPEG quality 75": jpeg(75),
    "JPEG quality 50": jpeg(50),
    "flip, JPEG 75": chain(flip, jpeg(75)),
    "brightness +-30 %": brightness,
    "shift 1 px": shift(1),
    "shift 2 px": shift(2),
    "shift 2 px, JPEG 75": chain(shift(2), jpeg(75)),
    "crop 30/32 and resize": crop_resize(30),
    "crop 30/32, resize, JPEG 75": chain(crop_resize(30), jpeg(75)),
    "crop 28/32 and resize": crop_resize(28),
}


def interval(hits: int, total: int) -> tuple[float, float]:
    """Clopper-Pearson interval of a share, 95 %."""
    found = binomtest(hits, total).proportion_ci(0.95, method="exact")
    return float(found.low), float(found.high)


def independent_pairs(sets: dict[str, Pixels], described: dict[str, Descriptors]) -> None:
    """Print the false positives of every pair of independent sets."""
    rule, hits, total = Likeness(), 0, 0
    print(f"false positives\n{'sets':32} {'pairs':>15} found")
    for first, second in combinations(sets, 2):
        if {first, second} == {"cifar10_train", "cifar10_test"}:
            continue
        started = time.perf_counter()
        pairs = find_near_duplicates(
            sets[first], sets[second], rule, (described[first], described[second])
        )
        number = len(sets[first]) * len(sets[second])
        hits, total = hits + len(pairs), total + number
        elapsed = time.perf_counter() - started
        print(f"{first + ' / ' + second:32} {number:15,} {len(pairs):5} {elapsed:6.1f} s")
    low, high = interval(hits, total)
    print(f"{'all':32} {total:15,} {hits:5}  rate {hits / total:.2g} [{low:.2g}, {high:.2g}]")


def planted_copies(sets: dict[str, Pixels], described: dict[str, Descriptors]) -> None:
    """Print the share of planted copies that is found, all images and those with structure."""
    rule = Likeness()
    print(f"\nplanted copies found\n{'alteration':30} {'all images':>30} with structure")
    for name, alter in ALTERATIONS.items():
        found, usable = [], []
        for source in PLANTED_FROM:
            originals = sets[source][:NUM_PLANTED]
            copies = alter(originals, np.random.default_rng([len(name), len(source)]))
            pairs = find_near_duplicates(copies, originals, rule)
            hit = np.zeros(len(originals), dtype=bool)
            hit[pairs.first[pairs.first == pairs.second]] = True
            found.append(hit)
            usable.append(described[source].usable[: len(originals)])
        hits, eligible = np.concatenate(found), np.concatenate(usable)
        print(f"{name:30} {_share(hits):>30} {_share(hits[eligible])}")


def _share(hits: npt.NDArray[np.bool_]) -> str:
    low, high = interval(int(hits.sum()), len(hits))
    return f"{hits.mean():.4f} [{low:.4f}, {high:.4f}] n={len(hits)}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, required=True)
    root = parser.parse_args().data_root
    sets = {
        name: read_source(Source(name, "parquet", str(root / file))).pixels
        for name, file in FILES.items()
    }
    described = {name: describe(pixels, Likeness()) for name, pixels in sets.items()}
    for name, descriptors in described.items():
        share = 1 - descriptors.usable.mean()
        print(f"{name}: {len(sets[name]):,} images, {share:.2%} without enough structure")
    independent_pairs(sets, described)
    planted_copies(sets, described)


if __name__ == "__main__":
    main()
