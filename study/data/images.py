"""A named set of images in memory: what every reader returns and every role holds."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from study.errors import BadInput, Fault

NO_LABEL = -1
MOST_CLASSES = 1_000_000
"""Classes are listed by number; a larger label is a number of something else."""

Rows = npt.NDArray[np.int64]
"""Places of images in a set."""
Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Names = npt.NDArray[np.bytes_]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one size with what is known of each; build it with :meth:`make`.

    It holds plain contiguous arrays only, so that it pickles out of band: many processes of one
    machine then share one copy, and the arrays that they see are read-only.

    Attributes:
        name: what the set is called in tables and messages.
        pixels: uint8, shape (N, H, W, 3), RGB.
        labels: int64, shape (N,); -1 where an image has none.
        ids: bytes, shape (N,); unique in the set.
        groups: bytes, shape (N,); the source image that an image was cut from. Images of one
            group are not independent. Equal to ``ids`` where each image is its own source.
        classes: class names by label; empty where the set names none.
        provenance: where the set comes from, for people.
        fingerprint: sha256 over shape, labels and pixels, hexadecimal.
        codec: how the pixels were kept before ("jpeg", "lossless", "mixed", "rendered"); sets
            that differ in it can be told apart by the codec alone.
        left_out: what the reader found beside the images and left out: reasons and numbers.
    """

    name: str
    pixels: Pixels
    labels: Labels
    ids: Names
    groups: Names
    classes: tuple[str, ...]
    provenance: str
    fingerprint: str
    codec: str = "lossless"
    left_out: tuple[tuple[str, int], ...] = ()

    @classmethod
    def make(
        cls,
        name: str,
        pixels: npt.ArrayLike,
        *,
        labels: npt.ArrayLike | None = None,
        ids: Sequence[str] | Names | None = None,
        groups: Sequence[str] | Names | None = None,
        classes: Sequence[str] = (),
        provenance: str = "",
        codec: str = "lossless",
        left_out: Iterable[tuple[str, int]] = (),
    ) -> ImageSet:
        """Check the arrays and fingerprint them.

        Args:
            name: see the class.
            pixels: uint8, shape (N, H, W, 3); copied only where it is not contiguous.
            labels: shape (N,), integers; none given means -1 everywhere.
            ids: N unique names; none given means the row numbers.
            groups: N names; none given means that each image is its own source.
            classes: class names by label.
            provenance: see the class.
            codec: see the class.
            left_out: see the class.

        Raises:
            BadInput: for an empty set, or one whose shapes, types, labels or ids do not fit.
        """
        pixels = np.asarray(pixels)
        _check_pixels(name, pixels)
        num_images = len(pixels)
        labels = np.full(num_images, NO_LABEL) if labels is None else np.asarray(labels)
        names = byte_names([f"{row:06d}" for row in range(num_images)] if ids is None else ids)
        group_names = names if groups is None else byte_names(groups)
        # one way to write an accent: systems differ in how they store names of folders
        written = tuple(unicodedata.normalize("NFC", one) for one in classes)
        _check_columns(name, num_images, labels, names, group_names, written)
        pixels = np.ascontiguousarray(pixels)
        labels = np.ascontiguousarray(labels, dtype=np.int64)
        mark = fingerprint_of(pixels, labels)
        told = (written, provenance or name, mark, codec, tuple(left_out))
        return cls(name, pixels, labels, names, group_names, *told)

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def num_groups(self) -> int:
        """Number of distinct source images."""
        return len(np.unique(self.groups))

    def take(self, indices: npt.ArrayLike, name: str | None = None) -> ImageSet:
        """The rows ``indices`` (integers or a boolean mask) as a set of their own.

        Raises:
            BadInput: if no row is left.
        """
        chosen = np.asarray(indices)
        if not chosen.size:
            chosen = chosen.astype(np.int64)
        columns = ("pixels", "labels", "ids", "groups")
        cut = {column: getattr(self, column)[chosen] for column in columns}
        return self._with(name=name or self.name, **cut)

    def with_pixels(self, pixels: Pixels) -> ImageSet:
        """The same images with other pixels, such as at another size."""
        return self._with(pixels=pixels)

    def numbered(self, labels: npt.ArrayLike, classes: Sequence[str]) -> ImageSet:
        """The same images with labels that count ``classes``."""
        return self._with(labels=labels, classes=classes)

    def _with(self, **changed: Any) -> ImageSet:
        """The same with some of `make`'s arguments changed, checked and fingerprinted anew."""
        own = {name: value for name, value in vars(self).items() if name != "fingerprint"}
        return ImageSet.make(**own | changed)

    def summary(self) -> dict[str, Any]:
        """Plain facts for a manifest: fingerprint, num_images, num_groups, provenance, codec.

        Also ``left_out``, reason -> number, where the reader left something out.
        """
        return {
            "fingerprint": self.fingerprint,
            "num_images": len(self),
            "num_groups": self.num_groups,
            "provenance": self.provenance,
            "codec": self.codec,
            **({"left_out": dict(self.left_out)} if self.left_out else {}),
        }


def concatenate(name: str, sets: Sequence[ImageSet]) -> ImageSet:
    """Several sets as one without labels; ids and groups get their set's name as a prefix.

    A single set keeps its rows as they are. Labels of different sets do not count the same
    things, so a union has none.

    Raises:
        BadInput: if there is no set, or the image sizes differ.
    """
    if len(sets) == 1:
        return sets[0]
    sizes = {images.pixels.shape[1:] for images in sets}
    if len(sizes) != 1:
        rule = f"needs sets of one image size, got {sorted(sizes)}"
        raise BadInput(Fault(name, "", rule, "Bring all sets to data.image_size."))
    codecs = {images.codec for images in sets}

    def prefixed(columns: list[Names]) -> Names:
        pairs = zip(sets, columns, strict=True)
        # numpy's types know no bytes prefix on an S array, hence the explicit conversion
        return np.concatenate([np.char.add(f"{s.name}/".encode(), column) for s, column in pairs])

    return ImageSet.make(
        name,
        np.concatenate([images.pixels for images in sets]),
        ids=prefixed([images.ids for images in sets]),
        groups=prefixed([images.groups for images in sets]),
        provenance=" + ".join(images.provenance for images in sets),
        codec=codecs.pop() if len(codecs) == 1 else "mixed",
        left_out=sorted(sum((Counter(dict(one.left_out)) for one in sets), Counter()).items()),
    )


def byte_names(names: Sequence[str] | Names) -> Names:
    """Names as a fixed-width UTF-8 array, which pickles without a Python object per row."""
    if isinstance(names, np.ndarray):
        return np.ascontiguousarray(names)
    # a file's name in another encoding comes as surrogates: its bytes are written out
    encoded = [(name if name.isascii() else printable(name)).encode() for name in names]
    return np.array(encoded, dtype=f"S{max((len(name) for name in encoded), default=1) or 1}")


def printable(name: str) -> str:
    r"""A name with the bytes that are not UTF-8 written out, as in ``caf\xe9.png``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def fingerprint_of(pixels: Pixels, labels: Labels) -> str:
    """sha256 (hexadecimal) over shape, labels (little-endian) and pixels."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def picture_hashes(pixels: Pixels) -> Names:
    """128-bit BLAKE2b of each image's pixels, hexadecimal, shape (N,)."""
    digests = [
        hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest().encode()
        for image in pixels
    ]
    return np.array(digests, dtype="S32")


def _check_pixels(name: str, pixels: npt.NDArray[Any]) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3:
        rule = (
            "images must be uint8 RGB of shape (N, H, W, 3), "
            f"got {pixels.dtype} of shape {pixels.shape}"
        )
        raise BadInput(Fault(name, "", rule, "Convert them, or name another set."))
    if not pixels.size:
        raise BadInput(Fault(name, "", "holds no image", "Name a set that has some."))


def _check_columns(
    name: str,
    num_images: int,
    labels: npt.NDArray[Any],
    ids: Names,
    groups: Names,
    classes: Sequence[str],
) -> None:
    faults = []
    for column, values in (("labels", labels), ("ids", ids), ("groups", groups)):
        if values.shape != (num_images,):
            rule = f"has shape {values.shape} for {num_images} images"
            faults.append(Fault(name, column, rule, "Give one value for each image."))
    if faults:
        raise BadInput(faults)
    if not np.issubdtype(labels.dtype, np.integer):
        faults.append(Fault(name, "labels", f"must be integers, got {labels.dtype}"))
    elif labels.min() < NO_LABEL or (classes and labels.max() >= len(classes)):
        most = f"-1 .. {len(classes) - 1}" if classes else "-1 (no label), 0, 1 ..."
        rule = f"must lie in {most}, got {labels.min()} .. {labels.max()}"
        faults.append(Fault(name, "labels", rule, "Mend the labels or the class names."))
    elif labels.max() >= MOST_CLASSES:
        rule = f"number classes from 0 on, fewer than {MOST_CLASSES:,}; there is {labels.max()}"
        faults.append(Fault(name, "labels", rule, "Number the classes anew, or name them."))
    if twice := [one for one, number in Counter(classes).items() if number > 1]:
        rule = f"there are two classes '{twice[0]}' (accents can be written in two ways)"
        faults.append(Fault(name, "classes", rule, "Make one of them, or rename one."))
    if len(np.unique(ids)) != num_images:
        faults.append(Fault(name, "ids", "must be unique", "Name each image once."))
    if faults:
        raise BadInput(faults)
