"""Outlier Exposure's synthetic OOD sets, made from validation ID images only.

Definitions follow Hendrycks et al., "Deep Anomaly Detection with Outlier Exposure", ICLR 2019
(arXiv:1812.04606), and its published evaluation code, brought to [0, 1] and to any image size:
noise there is drawn in [-1, 1], and blocks are given for 32 pixels. That code makes them from
test images; here they may serve as validation sets, so they never see one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from study.data.images import ImageSet, Pixels
from study.errors import BadInput, Fault
from study.seeding import numpy_generator

_PUBLISHED_SIZE = 32  # pixels, of the images that the definitions were given for
Generator = np.random.Generator
Floats = npt.NDArray[np.float64]  # images in [0, 1], shape (N, H, W, 3)


def make_synthetic(name: str, images: ImageSet, seed: int, num: int) -> ImageSet:
    """A synthetic OOD set.

    Args:
        name: one of :data:`SYNTHETIC_NAMES`.
        images: validation ID images; noise takes only their size.
        seed: of the stream ("synthetic", name).
        num: number of images; sets made from images hold at most one for each of them.

    Returns:
        Images of the given size and no labels. The source group is the (first) validation image
        that one was made from; noise is its own.

    Raises:
        BadInput: for an unknown name, num < 1, or pairs wanted of a single image.
    """
    if name not in SYNTHETIC_NAMES:
        rule = f"no synthetic set '{name}'; there are {', '.join(SYNTHETIC_NAMES)}"
        raise BadInput(Fault("data.ood_val", "", rule))
    if num < 1:
        raise BadInput(Fault("data.ood_val", name, "needs at least one image", value=num))
    generator = numpy_generator(seed, "synthetic", name)
    if name in _NOISES:
        shape = (num, *images.pixels.shape[1:])
        pixels, groups = to_uint8(_NOISES[name](generator, shape)), None
    else:
        rows = generator.permutation(len(images))[:num]
        pixels, groups = _transformed(name, images, rows, generator), images.groups[rows]
    return ImageSet.make(
        name,
        pixels,
        ids=[f"{name}/{row:06d}" for row in range(len(pixels))],
        groups=groups,
        provenance=f"synthetic ({name}) from validation images, seed {seed}",
        codec="rendered",
    )


def to_uint8(values: Floats) -> Pixels:
    """[0, 1] to 0..255, clipped and rounded to the nearest."""
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _transformed(
    name: str, images: ImageSet, rows: npt.NDArray[np.intp], generator: Generator
) -> Pixels:
    base = images.pixels[rows] / 255.0
    if name not in _PAIRS:
        return to_uint8(_CHANGES[name](base, generator))
    if len(images) < 2:
        raise BadInput(Fault("data.ood_val", name, "needs two validation images, there is one"))
    # a shift other than 0 modulo N pairs no image with itself
    shift = int(generator.integers(1, len(images)))
    partners = images.pixels[(rows + shift) % len(images)] / 255.0
    return to_uint8(_PAIRS[name](base, partners))


def _blob(generator: Generator, shape: tuple[int, ...]) -> Floats:
    """Bernoulli(0.7) pixels, blurred with sigma 1.5, and black below 0.75.

    Larger images have the blobs of 32 pixels enlarged: more blur would leave nothing above 0.75.
    """
    from scipy.ndimage import gaussian_filter, zoom  # of use to few studies

    size, drawn = shape[1], min(shape[1], _PUBLISHED_SIZE)
    sparse = (generator.random((shape[0], drawn, drawn, shape[3])) < 0.7).astype(np.float64)
    blurred: Floats = gaussian_filter(sparse, sigma=(0, 1.5, 1.5, 0))
    if size > drawn:
        larger = (1, size / drawn, size / drawn, 1)
        blurred = zoom(blurred, larger, order=1, mode="nearest", grid_mode=True)
    blurred[blurred < 0.75] = 0
    return blurred


def _jigsaw(images: Floats, _: Generator) -> Floats:
    """Quarters re-ordered inside and the lower two with their sides changed.

    An odd edge keeps its last row and column as they are.
    """
    if images.shape[1] % 2:
        made = images.copy()
        made[:, :-1, :-1] = _jigsaw(images[:, :-1, :-1], _)
        return made
    half, quarter = images.shape[1] // 2, images.shape[1] // 4
    top, bottom = images[:, :half], images[:, half:]
    upper_left = np.roll(top[:, :, :half], -quarter, axis=1)
    lower_left = bottom[:, :, :half]
    lower_right = bottom[:, :, half:]
    upper_right = np.roll(top[:, :, half:], -quarter, axis=2)
    return np.concatenate(
        [
            np.concatenate([upper_left, lower_left], axis=2),
            np.concatenate([lower_right, upper_right], axis=2),
        ],
        axis=1,
    )


def _pixelate(images: Floats, _: Generator) -> Floats:
    """Box-resampled to a fifth of the size and back."""
    size = images.shape[1]
    small = max(1, int(size * 0.2))
    coarse = [
        Image.fromarray(picture)
        .resize((small, small), Image.Resampling.BOX)
        .resize((size, size), Image.Resampling.BOX)
        for picture in to_uint8(images)
    ]
    return np.stack([np.asarray(picture) for picture in coarse]) / 255.0


def _rgb_ghost(images: Floats, _: Generator) -> Floats:
    """Channels moved on (G, B, R), the first of them mirrored."""
    red, green, blue = np.moveaxis(images, -1, 0)
    return np.stack([green[:, :, ::-1], blue, red], axis=-1)


_NOISES: dict[str, Callable[[Generator, tuple[int, ...]], Floats]] = {
    "uniform": lambda generator, shape: generator.random(shape),
    # N(0, 0.5) in [-1, 1], clipped; hence N(0.5, 0.25) here
    "gaussian": lambda generator, shape: np.clip(generator.normal(0.5, 0.25, shape), 0, 1),
    "rademacher": lambda generator, shape: generator.integers(0, 2, shape).astype(np.float64),
    "blob": _blob,
}
_PAIRS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "arithmetic_mean": lambda first, second: (first + second) / 2,
    "geometric_mean": lambda first, second: np.sqrt(first * second),
}
_CHANGES: dict[str, Callable[[Floats, Generator], Floats]] = {
    "jigsaw": _jigsaw,
    # times 1 + n with n ~ N(0, 1), clipped
    "speckle": lambda one, rng: np.clip(one * (1 + rng.standard_normal(one.shape)), 0, 1),
    "pixelate": _pixelate,
    "rgb_ghost": _rgb_ghost,
    # green and blue inverted, red kept
    "invert": lambda one, _: np.concatenate([one[..., :1], 1 - one[..., 1:]], axis=-1),
}
SYNTHETIC_NAMES = (*_NOISES, *_PAIRS, *_CHANGES)
# The eight that Outlier Exposure and the energy paper validate on.
VALIDATION_NAMES = ("uniform", *_PAIRS, *_CHANGES)
