"""Encoded images to one uint8 array: strict about each row, cached by content.

Three rules, one for each kind of source:

* ``EXACT``: sets that ship at their final size (Parquet). A row of another size, or one that is
  not 8-bit RGB, is a fault.
* ``RESIZE``: folders of pictures. The largest centred square is brought to ``image_size`` with
  PIL's antialiased bicubic filter; a picture already of that size is left as it is, one whose
  shorter side is smaller is a fault (upsampling would mark its set). Grey-scale is a fault too,
  unless ``grey`` allows it for a public set that is known to hold some.
* ``SHORTER_SIDE``: OpenOOD's image lists, as its test preprocessing has them: to RGB, the shorter
  side to ``image_size`` with PIL's antialiased bilinear filter (smaller pictures are enlarged),
  then the centred square.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError, features

from study.data.images import Pixels
from study.errors import BadInput, Fault

MAX_FAULTS_TOLD = 10
# Beyond this mean size decoding happens mostly outside the interpreter's lock and threads pay;
# for 1 kB thumbnails they only take the lock from each other (measured: 0.30 s against 0.47 s).
_THREADS_FROM_BYTES = 8_000
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
_CONVERTIBLE = {"RGB", "P", "CMYK"}


@dataclass(frozen=True)
class DecodeRule:
    """How an encoded image becomes ``size`` x ``size`` RGB; see the module's text."""

    size: int
    resize: bool = False
    grey: bool = False
    shorter_side: bool = False


class _Unusable(Exception):
    """One image cannot be used; the text is the rule that it breaks."""


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
    broken: list[tuple[int, str]] = []

    def decode_row(row: int) -> None:
        try:
            pixels[row] = _decode(rows[row], rule)
        except _Unusable as error:
            broken.append((row, str(error)))

    mean_bytes = sum(len(data or b"") for data in rows[:100]) / max(1, len(rows[:100]))
    if mean_bytes >= _THREADS_FROM_BYTES:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            list(pool.map(decode_row, range(len(rows))))
    else:
        for row in range(len(rows)):
            decode_row(row)
    if broken:
        raise BadInput(_faults(sorted(broken), place, key))
    return pixels


def decode_cached(
    encoded: Callable[[], Iterable[bytes | None]],
    content_hash: str,
    rule: DecodeRule,
    place: str,
    key: Callable[[int], str],
) -> Pixels:
    """:func:`decode_images`, kept in the cache folder under the content's hash.

    The entry's name also holds the rule and the decoder's version, because decoders differ in
    the last bit. A cache that cannot be read or written is done without. The array may be a
    read-only map of the cache's file, which processes of one machine share.
    """
    version = f"{PIL.__version__}-{features.version('jpg')}"
    stamp = hashlib.sha256(f"{content_hash} {rule} {version}".encode()).hexdigest()[:32]
    entry = cache_folder() / "decoded" / f"{stamp}.npy"
    with contextlib.suppress(OSError, ValueError):
        # np.asarray: a plain array over the map pickles out of band, a memmap does not
        kept = np.asarray(np.load(entry, mmap_mode="r", allow_pickle=False))
        if kept.dtype == np.uint8 and kept.shape[1:] == (rule.size, rule.size, 3):
            return kept
    pixels = decode_images(encoded(), rule, place, key)
    with contextlib.suppress(OSError):
        save_by_rename(entry, pixels)
    return pixels


def cache_folder() -> Path:
    """``$OOD_STUDY_CACHE``, or ``~/.cache/ood-study``; it may not exist yet."""
    named = os.environ.get("OOD_STUDY_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "ood-study"


def save_by_rename(path: Path, array: Pixels) -> None:
    """Write a .npy that other processes see either whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            np.save(stream, array, allow_pickle=False)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def codec_of(data: bytes | None) -> str:
    """``jpeg`` or ``lossless``, by the first bytes of an encoded image."""
    return "jpeg" if data is not None and data[:2] == b"\xff\xd8" else "lossless"


def _decode(data: bytes | None, rule: DecodeRule) -> Pixels:
    if not data:
        raise _Unusable("has no image bytes")
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if rule.shorter_side:
            image = _by_shorter_side(image.convert("RGB"), rule.size)
        _check_mode(image, rule)
        if image.size != (rule.size, rule.size):
            image = _resized(image, rule)
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        # tobytes is twice as fast as np.asarray(image), which goes by the array interface
        return np.frombuffer(rgb.tobytes(), np.uint8).reshape(rule.size, rule.size, 3)
    except UnidentifiedImageError:
        raise _Unusable("is not an image that can be read (corrupt, or another format)") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # PIL reports a broken file as any of these, with the cause in the text
        raise _Unusable(f"cannot be decoded: {error}") from None


def _check_mode(image: Image.Image, rule: DecodeRule) -> None:
    if image.mode == "RGB":
        return
    if image.mode in ("L", "1", "LA", "I;16", "I", "F"):
        if not (rule.grey and image.mode == "L"):
            raise _Unusable(f"is grey-scale (mode {image.mode}), not RGB")
    elif not rule.resize or image.mode not in _CONVERTIBLE or "transparency" in image.info:
        raise _Unusable(f"is not RGB (mode {image.mode})")


def _resized(image: Image.Image, rule: DecodeRule) -> Image.Image:
    width, height = image.size
    if not rule.resize:
        raise _Unusable(f"is {width}x{height}, not {rule.size}x{rule.size}")
    side = min(width, height)
    if side < rule.size:
        raise _Unusable(f"is {width}x{height}, smaller than {rule.size}x{rule.size}")
    left, top = (width - side) // 2, (height - side) // 2
    square = image.convert("RGB").crop((left, top, left + side, top + side))
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


def _faults(broken: list[tuple[int, str]], place: str, key: Callable[[int], str]) -> list[Fault]:
    way_out = "Mend or remove it."
    faults = [Fault(place, key(row), text, way_out) for row, text in broken[:MAX_FAULTS_TOLD]]
    more = len(broken) - len(faults)
    if more:
        faults.append(Fault(place, "", f"{more} further images cannot be used either", way_out))
    return faults
