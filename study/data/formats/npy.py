"""Images in one .npy array, uint8 (N, H, W, 3), such as the "300K random images" file.

Beside ``NAME.npy``, ``NAME_labels.npy`` has a whole number for each image (-1: none), and
``NAME_classes.txt`` or ``classes.txt`` the names that they count, a line each.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from study.contents import ARRAY, instead_of
from study.data.class_list import class_list
from study.data.images import ImageSet
from study.data.sources import Source
from study.errors import BadInput, Fault

FORMAT = {
    "suffixes": [".npy"],
    "beside": ["_labels.npy"],
    "sets": {"300k_random_images": ["300K_random_images.npy", "outliers/300K_random_images.npy"]},
}


def read(source: Source) -> ImageSet:
    """Map the file, which may be larger than the memory.

    Raises:
        BadInput: naming the file, if it is missing, truncated, or of another type or shape.
    """
    path = Path(source.location)
    pixels = _array(path)
    one = pixels.ndim == 3 and pixels.shape[-1] == 3  # picture, and no grey ones of three pixels
    grey = (pixels.ndim == 3 and not one) or (pixels.ndim == 4 and pixels.shape[-1] == 1)
    if pixels.dtype != np.uint8 or not (grey or (pixels.ndim == 4 and pixels.shape[-1] == 3)):
        rule = f"must be uint8 (N, H, W, 3), is {pixels.dtype} {pixels.shape}"
        way_out = "Convert it to 8-bit RGB."
        if pixels.ndim == 4 and pixels.shape[1] == 3:
            way_out = "Convert it to 8-bit RGB, channels last: images.transpose(0, 2, 3, 1)."
        if one:
            way_out = "It may be one picture: as a set of one it is image[None]."
        raise BadInput(Fault(str(path), "", rule, way_out))
    if grey and not source.grey:
        rule = f"must be uint8 (N, H, W, 3), is grey-scale: {pixels.dtype} {pixels.shape}"
        way_out = "Set data.grey: rgb, which takes it with equal channels, or convert it to RGB."
        raise BadInput(Fault(str(path), "", rule, way_out))
    if grey:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:3], 1), 3, axis=3)
    labels = _labels(path, len(pixels))
    classes = [] if labels is None else class_list(path, labels)
    return ImageSet.make(
        source.name, pixels, labels=labels, classes=classes, provenance=source.location
    )


def image_size(source: Source) -> int | None:
    """The edge of its images; None where they are no squares."""
    shape = _array(Path(source.location)).shape
    return int(shape[1]) if len(shape) > 2 and shape[1] == shape[2] else None


def _array(path: Path) -> npt.NDArray[np.generic]:
    try:
        if path.stat().st_size == 0:
            raise BadInput(Fault(str(path), "", "is an empty file", "Fetch it again."))
        if other := instead_of(ARRAY, path):
            way_out = "Save the array itself with numpy.save, or name another file."
            raise BadInput(Fault(str(path), "", f"is {other}, and not {ARRAY}", way_out))
        # a plain array over the map: a memmap itself does not pickle out of band
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except OSError as error:
        rule = f"cannot be read: {error.strerror or error}"
        raise BadInput(Fault(str(path), "", rule, "Check the path.")) from None
    except (ValueError, EOFError) as error:
        rule = f"is not a whole .npy array of numbers ({error})"
        way_out = "Save it as uint8; or fetch it again, where it was cut short."
        raise BadInput(Fault(str(path), "", rule, way_out)) from None


def _labels(path: Path, num_images: int) -> npt.NDArray[np.int64] | None:
    beside = path.with_name(f"{path.stem}_labels.npy")
    if not beside.exists():
        return None
    labels = _array(beside).squeeze()
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (num_images,):
        rule = f"must hold a whole number for each of {num_images} images, is "
        rule += f"{labels.dtype} {labels.shape}"
        raise BadInput(Fault(str(beside), "", rule, "Number the classes; -1 is no label."))
    return labels.astype(np.int64)
