"""The embedded demo: real handwritten digits as ID, drawn pictures as everything else.

scikit-learn's digits are 32x32 bitmaps that were summed over 4x4 blocks to 8x8 counts of 0..16
(UCI Optical Recognition of Handwritten Digits). All other sets take the same road: a 32x32
bitmap is drawn, summed to 8x8 counts, and only then every set is brought to 32x32 RGB by one
linear interpolation. So no set is marked by its resolution, its grey levels or a codec.

Roles have disjoint generators: other letters, other textures, other noise. Letters that look
like a digit (O I S Z B D G Q ...) or like one of another role (L and J, U and V) are left out.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from study.data.images import ImageSet
from study.errors import BadInput, Fault
from study.seeding import numpy_generator

NUM_TEST = 360
VAL_FRACTION = 0.3  # of the other digits: 431, whose accuracy is told to within a point
_SEED = 0
IMAGE_SIZE = 32
_EDGE = IMAGE_SIZE  # the bitmaps have the same
_BLOCK = 4  # bitmaps are summed over 4x4 blocks
_LEVELS = _BLOCK * _BLOCK

Bitmap = npt.NDArray[np.bool_]
Painter = Callable[[np.random.Generator], Bitmap]

ID_TRAIN, ID_TEST, OUTLIERS = "digits_train", "digits_test", "drawn_outliers"
OOD_VAL = ("letters_val", "textures_val")
OOD_TEST = ("letters_test", "textures_test", "noise_test")
# Sets by the role that `auto` gives them.
ROLE_SETS = {"outliers": (OUTLIERS,), "ood_val": OOD_VAL, "ood_test": OOD_TEST}


def demo_set(which: str, name: str | None = None) -> ImageSet:
    """One of the demo's sets: ID_TRAIN, ID_TEST, OUTLIERS, or a name of OOD_VAL or OOD_TEST.

    Raises:
        BadInput: for another name.
    """
    if which in (ID_TRAIN, ID_TEST):
        return _digits(which, name or which)
    recipe = _recipes().get(which)
    if recipe is None:
        rule = f"no demo set '{which}'; there are {', '.join(demo_names())}"
        raise BadInput(Fault("data", "", rule))
    counts, ids = [], []
    for painter, painter_name, number in recipe:
        generator = numpy_generator(_SEED, "demo", which, painter_name)
        counts.append(_paint(painter, number, generator))
        ids += [f"{painter_name}/{row:04d}.png" for row in range(number)]
    return ImageSet.make(
        name or which,
        enlarge(np.concatenate(counts)),
        ids=ids,
        provenance=f"embedded demo, {which}: {', '.join(part for _, part, _ in recipe)}",
        codec="rendered",
    )


def demo_names() -> tuple[str, ...]:
    """Names of all the demo's sets."""
    return (ID_TRAIN, ID_TEST, *_recipes())


def enlarge(counts: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """8x8 counts of 0..16 to 32x32 RGB, the one road of every demo set.

    Linear interpolation between the blocks' centres (half-pixel rule, edges repeated).

    Args:
        counts: shape (N, 8, 8), values 0..16.

    Returns:
        uint8, shape (N, 32, 32, 3), three equal channels.
    """
    num_blocks = counts.shape[1]
    centres = (np.arange(_EDGE) + 0.5) / (_EDGE / num_blocks) - 0.5
    low = np.clip(np.floor(centres), 0, num_blocks - 1).astype(int)
    high = np.clip(low + 1, 0, num_blocks - 1)
    share = np.clip(centres - low, 0, 1)
    weights = np.zeros((_EDGE, num_blocks))
    np.add.at(weights, (np.arange(_EDGE), low), 1 - share)
    np.add.at(weights, (np.arange(_EDGE), high), share)
    grey = weights @ counts.astype(np.float64) @ weights.T * (255 / _LEVELS)
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=-1)


def block_counts(bitmaps: Bitmap) -> npt.NDArray[np.uint8]:
    """Set pixels per 4x4 block: (N, 32, 32) to (N, 8, 8), values 0..16."""
    blocks = bitmaps.reshape(len(bitmaps), _EDGE // _BLOCK, _BLOCK, _EDGE // _BLOCK, _BLOCK)
    counts: npt.NDArray[np.uint8] = blocks.sum(axis=(2, 4), dtype=np.uint8)
    return counts


def _scikit_learn_digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Counts (N, 8, 8) and classes (N,) of its `load_digits`, from its file.

    The package takes over a second to import.
    """
    spec = find_spec("sklearn")
    assert spec is not None, "it is one of the project's requirements"
    path = Path(str(spec.origin)).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",").astype(np.uint8)
    return table[:, :-1].reshape(-1, _EDGE // _BLOCK, _EDGE // _BLOCK), table[:, -1]


def _digits(which: str, name: str) -> ImageSet:
    counts, classes = _scikit_learn_digits()
    # an image that occurs twice stays with its first row, so that no copy crosses a split
    _, first = np.unique(counts.reshape(len(counts), -1), axis=0, return_index=True)
    rows = numpy_generator(_SEED, "demo", "digits").permutation(np.sort(first))
    rows = np.sort(rows[:NUM_TEST] if which == ID_TEST else rows[NUM_TEST:])
    return ImageSet.make(
        name,
        enlarge(counts[rows]),
        labels=classes[rows].astype(np.int64),
        ids=[f"digit/{row:04d}.png" for row in rows],
        classes=[f"digit {number}" for number in range(10)],
        provenance=f"embedded demo, {which}: scikit-learn's handwritten digits",
        codec="rendered",
    )


def _paint(painter: Painter, number: int, generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """``number`` distinct pictures, as block counts."""
    seen: dict[bytes, npt.NDArray[np.uint8]] = {}
    while len(seen) < number:
        counts = block_counts(painter(generator)[None])[0]
        seen.setdefault(counts.tobytes(), counts)
    return np.stack(list(seen.values()))


@cache
def _recipes() -> dict[str, list[tuple[Painter, str, int]]]:
    """Set -> its painters with name and number of pictures."""
    return {
        OUTLIERS: [
            (_letters("AMWNHK"), "letters_AMWNHK", 1000),
            (_stripes, "stripes", 400),
            (_discs, "discs", 300),
            (_smooth_noise, "smooth_noise", 300),
        ],
        "letters_val": [(_letters("EFPR"), "letters_EFPR", 400)],
        "textures_val": [(_dots, "dots", 200), (_rings, "rings", 200)],
        "letters_test": [(_letters("TCXY"), "letters_TCXY", 400)],
        "textures_test": [(_pinwheel, "pinwheels", 200), (_bricks, "bricks", 200)],
        "noise_test": [(_speckle, "speckle", 400)],
    }


def _letters(alphabet: str) -> Painter:
    """Letters with a pen's width, place, size, slant and turn of their own."""

    def paint(generator: np.random.Generator) -> Bitmap:
        letter = alphabet[generator.integers(len(alphabet))]
        canvas = Image.new("L", (_EDGE, _EDGE), 0)
        font = _font(int(generator.integers(36, 42)))
        ImageDraw.Draw(canvas).text((_EDGE // 2, _EDGE // 2), letter, 255, font, "mm")
        pen = int(generator.choice([1, 3]))
        canvas = canvas.filter(ImageFilter.MaxFilter(pen)) if pen > 1 else canvas
        turn, slant = generator.normal(0, 0.12), generator.normal(0, 0.15)
        shift = generator.uniform(-2, 2, size=2)
        cos, sin = np.cos(turn), np.sin(turn)
        middle = _EDGE / 2
        a, b, d, e = cos + slant * sin, -sin + slant * cos, sin, cos
        c, f = middle - (a + b) * middle + shift[0], middle - (d + e) * middle + shift[1]
        turned = canvas.transform(
            canvas.size, Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR
        )
        return np.asarray(turned) > 127

    return paint


_font = cache(ImageFont.load_default)


def _grid(generator: np.random.Generator) -> tuple[npt.NDArray[np.float64], ...]:
    """Pixel coordinates turned by a random angle and moved by a random phase."""
    rows, columns = np.mgrid[:_EDGE, :_EDGE].astype(np.float64)
    angle = generator.uniform(0, np.pi)
    moved = generator.uniform(0, _EDGE, size=2)
    return (
        columns * np.cos(angle) + rows * np.sin(angle) + moved[0],
        rows * np.cos(angle) - columns * np.sin(angle) + moved[1],
    )


def _stripes(generator: np.random.Generator) -> Bitmap:
    along, _ = _grid(generator)
    period = generator.uniform(7, 16)
    return np.asarray(np.mod(along, period) < period * generator.uniform(0.25, 0.6))


def _dots(generator: np.random.Generator) -> Bitmap:
    """Round dots on a square lattice."""
    along, across = _grid(generator)
    step = generator.uniform(9, 14)
    distance = np.hypot(np.mod(along, step) - step / 2, np.mod(across, step) - step / 2)
    return np.asarray(distance < step * generator.uniform(0.25, 0.4))


def _pinwheel(generator: np.random.Generator) -> Bitmap:
    """Sectors around a point near the middle."""
    rows, columns = np.mgrid[:_EDGE, :_EDGE]
    centre = generator.uniform(10, 22, size=2)
    angle = np.arctan2(rows - centre[0], columns - centre[1]) + generator.uniform(0, np.pi)
    turns = angle * generator.integers(4, 8) / (2 * np.pi)
    return np.asarray(np.mod(turns, 1) < generator.uniform(0.3, 0.6))


def _bricks(generator: np.random.Generator) -> Bitmap:
    along, across = _grid(generator)
    height, width = generator.uniform(7, 11), generator.uniform(13, 20)
    course = across // height
    joint = np.mod(along + course * width / 2, width) < 3
    return joint | (np.mod(across, height) < 3)


def _rings(generator: np.random.Generator) -> Bitmap:
    rows, columns = np.mgrid[:_EDGE, :_EDGE]
    centre = generator.uniform(0, _EDGE, size=2)
    distance = np.hypot(rows - centre[0], columns - centre[1])
    period = generator.uniform(7, 12)
    phase = generator.uniform(0, period)
    return np.asarray(np.mod(distance + phase, period) < period * 0.45)


def _discs(generator: np.random.Generator) -> Bitmap:
    rows, columns = np.mgrid[:_EDGE, :_EDGE]
    ink = np.zeros((_EDGE, _EDGE), dtype=bool)
    for _ in range(generator.integers(2, 7)):
        row, column = generator.uniform(0, _EDGE, size=2)
        ink |= np.hypot(rows - row, columns - column) < generator.uniform(2, 6)
    return ink


def _smooth_noise(generator: np.random.Generator) -> Bitmap:
    """A random field with a correlation length of some blocks, cut at a random level."""
    coarse = generator.normal(size=(1, 8, 8))
    coarse -= coarse.min()
    field = enlarge(np.rint(coarse / coarse.max() * _LEVELS).astype(np.uint8))[0, ..., 0]
    return field > np.quantile(field, generator.uniform(0.55, 0.8))


def _speckle(generator: np.random.Generator) -> Bitmap:
    """Independent pixels; each block's density varies, as ink does."""
    density = generator.beta(0.6, 1.2, size=(_EDGE // _BLOCK, _EDGE // _BLOCK))
    return generator.random((_EDGE, _EDGE)) < np.kron(density, np.ones((_BLOCK, _BLOCK)))
