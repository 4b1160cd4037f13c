"""How often the near-duplicate rule errs: false positives and missed copies.

    python benchmarks/leak_rule.py --data-root ../shared/data
    python benchmarks/leak_rule.py --data-root ../shared/data --outliers 300000

False positives: every pair between sets that cannot share a picture (CIFAR-10 against crops of
ImageNet images and textures; crops of different source images against each other), and between
halves of drawn, written and textured sets: strokes, digits by hand (scikit-learn's), letters of
one family of fonts against another's, gratings. Missed copies: altered copies are planted beside
the other images of a set and searched for, end to end. Recall of the cells: what proposals of
cells find of those among all pairs. Intervals: Clopper-Pearson, 95 %. Takes some minutes on one
core. ``--outliers N`` only measures how long a check takes beside N outliers: pictures mixed from
those that are there. The numbers of the last run stand in the docstring of
study/data/leaks/check.py.
"""

from __future__ import annotations

import argparse
import io
import os
import string
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import font_manager, get_data_path
from PIL import Image, ImageDraw, ImageFont
from scipy.stats import binomtest
from sklearn.datasets import load_digits

from study.data.file_formats import read_source
from study.data.images import ImageSet, Pixels
from study.data.leaks.check import check_leaks
from study.data.leaks.near_duplicates import Likeness, describe, find_near_duplicates
from study.data.leaks.proposals import Descriptors, propose
from study.data.leaks.report import Member, Role
from study.data.leaks.turns import TURNS
from study.data.sources import Source

FONTS = str(Path(get_data_path()) / "fonts" / "ttf")

FILES = {
    "cifar10_train": "cifar10/train.parquet",
    "cifar10_test": "cifar10/test.parquet",
    "objects_train": "outliers/objects_train.parquet",
    "objects_val": "outliers/objects_val.parquet",
    "objects": "ood_test/objects.parquet",
    "scenes": "ood_test/scenes.parquet",
    "textures": "ood_test/textures.parquet",
}
PARTS = ("pairs", "drawn", "planted", "cells")
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


def turn(number: int) -> Alteration:
    """Turn the whole picture in one of sixteen ways."""
    return lambda pixels, _: np.ascontiguousarray(TURNS[number].of(pixels))


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
    "quarter turn, JPEG 75": chain(turn(4 + 1), jpeg(75)),
    "half turn, JPEG 75": chain(turn(2 + 1), jpeg(75)),
    "upside down, JPEG 75": chain(turn(2), jpeg(75)),
    "negative, JPEG 75": chain(turn(8), jpeg(75)),
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


def strokes(number: int, generator: Generator) -> Pixels:
    """One to three strokes on a plain ground."""

    def draw(sheet: ImageDraw.ImageDraw, ink: int) -> None:
        for _ in range(generator.integers(1, 4)):
            points = [(float(x), float(y)) for x, y in generator.integers(10, 118, (4, 2))]
            sheet.line(points, fill=ink, width=int(generator.integers(6, 16)), joint="curve")

    return drawings(number, generator, draw)


def letters(number: int, generator: Generator, faces: list[str]) -> Pixels:
    """A letter or digit, of a size and at a place that vary."""

    def draw(sheet: ImageDraw.ImageDraw, ink: int) -> None:
        face = faces[generator.integers(len(faces))]
        font = ImageFont.truetype(face, int(generator.integers(60, 110)))
        letter = str(generator.choice([*string.ascii_letters, *string.digits]))
        place = [float(one) for one in generator.integers(-10, 11, 2) + 64]
        sheet.text((place[0], place[1]), letter, fill=ink, font=font, anchor="mm")

    return drawings(number, generator, draw)


def drawings(
    number: int, generator: Generator, draw: Callable[[ImageDraw.ImageDraw, int], None]
) -> Pixels:
    """Sheets of 128 pixels, dark on light or light on dark, brought to 32."""
    sheets = []
    for _ in range(number):
        ground, ink = generator.permutation([0, 255]).tolist()
        sheet = Image.new("L", (128, 128), ground)
        draw(ImageDraw.Draw(sheet), ink)
        sheets.append(np.asarray(sheet.convert("RGB").resize((32, 32))))
    return np.stack(sheets)


def gratings(number: int, generator: Generator) -> Pixels:
    """Two crossed waves of any direction, length and colour."""
    y, x = np.mgrid[:32, :32]
    made = []
    for _ in range(number):
        angles, lengths = generator.uniform(0, np.pi, 2), generator.uniform(3, 16, 2)
        waves = [
            np.sin(2 * np.pi * (x * np.cos(a) + y * np.sin(a)) / w + generator.uniform(0, 6.3))
            for a, w in zip(angles, lengths, strict=True)
        ]
        colours = generator.uniform(-60, 60, (2, 3))
        made.append(128 + sum(w[..., None] * c for w, c in zip(waves, colours, strict=True)))
    pictures: npt.NDArray[np.uint8] = np.clip(np.stack(made), 0, 255).astype(np.uint8)
    return pictures


def drawn_written_textured(textures: Pixels) -> None:
    """Print the false positives between halves that share no picture."""
    generator, rule = np.random.default_rng(0), Likeness()
    faces = {Path(one).stem: one for one in font_manager.findSystemFonts(FONTS)}
    sans, serif = (
        [path for stem, path in faces.items() if stem.startswith(family)]
        for family in ("DejaVuSans", "DejaVuSerif")
    )
    digits = (load_digits().images * 15).astype(np.uint8)
    by_hand = np.stack([np.asarray(Image.fromarray(d).resize((32, 32))) for d in digits])
    by_hand = by_hand[..., None].repeat(3, axis=3)
    halves = {
        "strokes": (strokes(4000, generator), strokes(4000, generator)),
        "digits by hand": (by_hand[:900], by_hand[900:]),
        "letters": (letters(4000, generator, sans), letters(4000, generator, serif)),
        "gratings": (gratings(4000, generator), gratings(4000, generator)),
        "textures": (textures[::2], textures[1::2]),
    }
    print(f"\ndrawn, written, textured\n{'set':32} {'pairs':>15} found")
    for name, (first, second) in halves.items():
        usable = min(describe(one, rule).usable.mean() for one in (first, second))
        pairs, number = find_near_duplicates(first, second, rule), len(first) * len(second)
        low, high = interval(len(pairs), number)
        rate = f"{len(pairs) / number:.2g} [{low:.2g}, {high:.2g}]"
        print(f"{name:32} {number:15,} {len(pairs):5}  {rate}  with structure {usable:.2f}")


def recall_of_cells(described: dict[str, Descriptors]) -> None:
    """Print what proposals of cells find of the proposals among all pairs."""
    print(f"\nrecall of cells\n{'sets':32} {'all pairs':>10} {'cells':>10}  least cosine: recall")
    for first, second in (("objects_val", "cifar10_train"), ("cifar10_test", "cifar10_train")):
        every, by_cells = (
            {
                (int(a), int(b))
                for turn in propose(described[first], described[second], Likeness().proposal, n)
                for part in turn
                for a, b in zip(part.first, part.second, strict=True)
            }
            for n in (10**15, 0)
        )
        left, right = described[first].vectors, described[second].vectors
        pairs = np.array(sorted(every))
        cosines = np.abs((left[pairs[:, 0]] * right[pairs[:, 1]]).sum(axis=1))
        hit = np.array([tuple(pair) in by_cells for pair in pairs.tolist()])
        told = [f"{at}: {hit[cosines >= at].mean():.4f}" for at in (0.64, 0.8, 0.9)]
        print(
            f"{first + ' / ' + second:32} {len(every):10,} {len(by_cells):10,}  {', '.join(told)}"
        )


def time_of(number: int, sets: dict[str, Pixels]) -> None:
    """Print how long a check takes beside so many outliers."""
    generator = np.random.default_rng(0)
    pool = np.concatenate([sets["objects_train"], sets["objects_val"]])
    mixed = np.empty((number, 32, 32, 3), dtype=np.uint8)
    for start in range(0, number, 10_000):
        part = mixed[start : start + 10_000]
        one, other = (pool[generator.integers(len(pool), size=len(part))] for _ in range(2))
        part[:] = one // 2 + np.roll(other, generator.integers(32, size=2), axis=(1, 2)) // 2
    kinds: dict[str, Role] = {"cifar10_train": "train", "cifar10_test": "id_test"}
    members = [Member(role, ImageSet.make(name, sets[name])) for name, role in kinds.items()]
    members += [Member("ood_val", ImageSet.make("objects_val", sets["objects_val"]))]
    tests = ("objects", "scenes", "textures")
    members += [Member("ood_test", ImageSet.make(name, sets[name])) for name in tests]
    members += [Member("outliers", ImageSet.make("outliers", mixed))]
    before = time.process_time()
    report, _ = check_leaks(members, leaks="drop")
    print(f"{time.process_time() - before:.0f} CPU seconds, on {os.cpu_count()} cores")
    print("\n".join(report.lines()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--outliers", type=int, default=0)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    root = options.data_root
    sets = {
        name: read_source(Source(name, "parquet", str(root / file))).pixels
        for name, file in FILES.items()
    }
    if options.outliers:
        return time_of(options.outliers, sets)
    described = {name: describe(pixels, Likeness()) for name, pixels in sets.items()}
    for name, descriptors in described.items():
        share = 1 - descriptors.usable.mean()
        print(f"{name}: {len(sets[name]):,} images, {share:.2%} without enough structure")
    if "pairs" in options.parts:
        independent_pairs(sets, described)
    if "drawn" in options.parts:
        drawn_written_textured(sets["textures"])
    if "planted" in options.parts:
        planted_copies(sets, described)
    if "cells" in options.parts:
        recall_of_cells(described)
    return None


if __name__ == "__main__":
    main()
