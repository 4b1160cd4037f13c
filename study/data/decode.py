"""Encoded images to one uint8 array: one rule for every form, strict about each, kept by content.

A picture is turned as its camera's note says and brought to 8-bit RGB. Grey-scale is a fault
unless ``grey`` allows it, and gets equal channels; grey of 16 bits is scaled, white being 65,535.
Opaque alpha is taken off; transparency is a fault, since what shows through is not known, and so
are several frames. Then the largest centred square is brought to ``size`` with PIL's antialiased
bicubic filter; a picture already of that size is left as it is. One whose shorter side is smaller
is a fault unless ``enlarge`` allows it: it would mark its set.

``shorter_side`` is OpenOOD's way for its own lists: the shorter side to ``size`` with PIL's
antialiased bilinear filter (smaller pictures are enlarged), then the centred square.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import PIL
from PIL import Image, ImageOps, UnidentifiedImageError, features

from study.contents import kind_of
from study.data.images import Pixels
from study.data.sources import Source
from study.errors import BadInput, Fault, first_faults
from study.records.cache import cache_folder
from study.records.cached import load_array, save_array

MAX_FAULTS_TOLD = 10
# Beyond this mean size decoding happens mostly outside the interpreter's lock and threads pay;
# for 1 kB thumbnails they only take the lock from each other (measured: 0.30 s against 0.47 s).
_THREADS_FROM_BYTES = 8_000
# Of what Pillow reads, those that hold a picture as such and start no other program.
_FORMATS = (
    *("JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000", "MPO"),
    *("TGA", "PCX", "SGI", "QOI"),
)
_GREY = frozenset({"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N"})
_COLOUR = frozenset({"RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr"})
_WHITE_16 = 65535
_ORIENTATION = 0x0112  # the note of Exif
_WAY_OUT = "Mend or remove it."


@dataclass(frozen=True)
class DecodeRule:
    """How an encoded image becomes ``size`` x ``size`` RGB; see the module's text."""

    size: int
    enlarge: bool = False
    grey: bool = False
    shorter_side: bool = False


def rule_of(source: Source) -> DecodeRule:
    """How the images of a source are brought to size and colour."""
    return DecodeRule(source.image_size, source.enlarge, source.grey, source.shorter_side)


class _Unusable(Exception):
    """One image cannot be used; the texts are the rule that it breaks and the way out."""

    def __init__(self, rule: str, way_out: str = _WAY_OUT) -> None:
        super().__init__(rule, way_out)
        self.rule, self.way_out = rule, way_out


def _too_large() -> _Unusable:
    """Of what Pillow refuses as an attack on the memory: twice the pixels that it warns at."""
    rule = f"has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, and is not opened"
    return _Unusable(rule, "Make it smaller, cut it into several, or remove it.")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings, which name no file.

    They are about large pictures and odd notes in whole ones; what is wrong with a picture ends
    in an error. One context for all threads that decode in it: the filters are the process's.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@cache
def picture_suffixes() -> frozenset[str]:
    """What files of pictures that can be read here end in, small letters."""
    known = Image.registered_extensions().items()
    return frozenset(end for end, form in known if form in _readable())


@cache
def _readable() -> tuple[str, ...]:
    """Of `_FORMATS` those that this Pillow was built with."""
    Image.init()
    return tuple(form for form in _FORMATS if form in Image.OPEN)


@_quiet()
def decode_images(
    encoded: Iterable[bytes | None], rule: DecodeRule, place: str, key: Callable[[int], str]
) -> Pixels:
    """Decode every image or name those that cannot be.

    Args:
        encoded: the files' contents; None or b"" where a row has none.
        rule: size and what to do about others.
        place: the file or folder, for messages.
        key: the name of a row in messages.

    Returns:
        uint8, shape (N, rule.size, rule.size, 3).

    Raises:
        BadInput: naming the first ten unusable rows, and how many more there are.
    """
    rows = encoded if isinstance(encoded, Sequence) else list(encoded)
    pixels = np.empty((len(rows), rule.size, rule.size, 3), np.uint8)
    broken: list[tuple[int, _Unusable]] = []

    def decode_row(row: int) -> None:
        try:
            pixels[row] = _decode(rows[row], rule)
        except _Unusable as error:
            broken.append((row, error))

    mean_bytes = sum(len(data or b"") for data in rows[:100]) / max(1, len(rows[:100]))
    if mean_bytes >= _THREADS_FROM_BYTES:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            list(pool.map(decode_row, range(len(rows))))
    else:
        for row in range(len(rows)):
            decode_row(row)
    if broken:
        raise BadInput(_faults(sorted(broken, key=lambda each: each[0]), place, key))
    return pixels


@_quiet()
def fit_pixels(pixels: Pixels, rule: DecodeRule, place: str) -> Pixels:
    """Images that are an array already, brought to size as encoded ones are.

    Args:
        pixels: uint8, shape (N, H, W, 3).
        rule: size and what to do about others.
        place: the file, for messages.

    Raises:
        BadInput: where they are too small.
    """
    fitted = np.empty((len(pixels), rule.size, rule.size, 3), np.uint8)
    try:
        for row, image in enumerate(pixels):
            fitted[row] = np.asarray(_resized(Image.fromarray(image), rule))
    except (_Unusable, Image.DecompressionBombError) as error:
        told = error if isinstance(error, _Unusable) else _too_large()
        raise BadInput(Fault(place, "", f"each {told.rule}", told.way_out)) from None
    return fitted


@_quiet()
def common_size(encoded: Iterable[bytes | None]) -> int | None:
    """The edge of pictures that are all squares of one size; None where they are not.

    Told by their headers; one that cannot be read is left to who decodes it.
    """
    sizes: set[tuple[int, int]] = set()
    for data in encoded:
        with contextlib.suppress(OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            sizes.add(Image.open(io.BytesIO(data or b""), formats=_readable()).size)
        if len(sizes) > 1:
            return None
    return next((width for width, height in sizes if width == height), None)


def decode_cached(
    encoded: Callable[[], Iterable[bytes | None]],
    content_hash: str,
    rule: DecodeRule,
    place: str,
    key: Callable[[int], str],
) -> Pixels:
    """:func:`decode_images`, kept in the cache folder under the content's hash.

    The entry's name also holds the rule and the decoder's version, because decoders differ in
    the last bit. A cache that cannot be read or written is done without, a damaged entry is made
    anew. The array may be a
    read-only map of the cache's file, which processes of one machine share.
    """
    version = f"{PIL.__version__}-{features.version('jpg')}"
    stamp = hashlib.sha256(f"{content_hash} {rule} {version}".encode()).hexdigest()[:32]
    entry = cache_folder() / "decoded" / f"{stamp}.npy"
    kept = load_array(entry)
    shape = (rule.size, rule.size, 3)
    if kept is not None and kept.dtype == np.uint8 and kept.shape[1:] == shape:
        return kept
    pixels = decode_images(encoded(), rule, place, key)
    with contextlib.suppress(OSError):
        save_array(entry, pixels)
    return pixels


def codec_of(data: bytes | None) -> str:
    """``jpeg`` or ``lossless``, by the first bytes of an encoded image."""
    return "jpeg" if data is not None and data[:2] == b"\xff\xd8" else "lossless"


def _decode(data: bytes | None, rule: DecodeRule) -> Pixels:
    if not data:
        raise _Unusable("has no image bytes")
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=_readable())
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            rule_told = f"holds {image.n_frames} frames"  # type: ignore[attr-defined]
            raise _Unusable(rule_told, "Save the one that is meant.")
        image = _in_colour(_upright(image), rule)
        if image.size != (rule.size, rule.size):
            image = _resized(image, rule)
        # tobytes is twice as fast as np.asarray(image), which goes by the array interface
        return np.frombuffer(image.tobytes(), np.uint8).reshape(rule.size, rule.size, 3)
    except UnidentifiedImageError:
        kind = kind_of(data)
        what = f"it is {kind}" if kind else "corrupt, or another format"
        raise _Unusable(f"is not an image that can be read ({what})") from None
    except Image.DecompressionBombError:
        raise _too_large() from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        # PIL reports a broken file as any of these, with the cause in the text
        raise _Unusable(f"cannot be decoded: {error}") from None


def _upright(image: Image.Image) -> Image.Image:
    """Turned as the camera's note says; a note that cannot be read turns nothing."""
    try:
        turned = image.getexif().get(_ORIENTATION, 1) != 1
    except (OSError, SyntaxError, ValueError, TypeError, struct.error):
        return image
    return ImageOps.exif_transpose(image) if turned else image


def _in_colour(image: Image.Image, rule: DecodeRule) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode not in _GREY | _COLOUR:
        way_out = "Save it as 8-bit RGB."
        raise _Unusable(f"is of mode {image.mode}, whose white is not known", way_out)
    if image.mode in _GREY and not rule.grey:
        way_out = "Set data.grey: rgb, which takes it with equal channels, or remove it."
        raise _Unusable(f"is grey-scale (mode {image.mode}), not RGB", way_out)
    if image.mode.startswith("I;16"):
        scaled = np.asarray(image).astype(np.float64) * (255 / _WHITE_16)
        image = Image.fromarray(np.rint(scaled).astype(np.uint8))
    if image.has_transparency_data:
        lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
        if lowest != 255:
            way_out = "Lay it on a background of one colour and save it as RGB."
            raise _Unusable(f"is transparent in parts (mode {image.mode})", way_out)
        image = image.convert("RGBA")  # a palette's colours, a key's colour: opaque all
    return image.convert("RGB")


def _resized(image: Image.Image, rule: DecodeRule) -> Image.Image:
    width, height = image.size
    if rule.shorter_side:
        return _by_shorter_side(image, rule.size)
    side = min(width, height)
    if side < rule.size and not rule.enlarge:
        way_out = (
            "Set data.enlarge: true, which enlarges what is smaller, or a smaller "
            "data.image_size, or remove it."
        )
        raise _Unusable(f"is {width}x{height}, smaller than {rule.size}x{rule.size}", way_out)
    left, top = (width - side) // 2, (height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return square.resize((rule.size, rule.size), Image.Resampling.BICUBIC)


def _by_shorter_side(image: Image.Image, size: int) -> Image.Image:
    """The centred square after the shorter side was brought to ``size``."""
    width, height = image.size
    short = min(width, height)
    if short != size:
        width, height = (size * side // short for side in (width, height))
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def _faults(
    broken: list[tuple[int, _Unusable]], place: str, key: Callable[[int], str]
) -> list[Fault]:
    faults = [Fault(place, key(row), error.rule, error.way_out) for row, error in broken]
    others = "{} further images cannot be used either"
    return first_faults(faults, MAX_FAULTS_TOLD, others, "Mend or remove them.")
