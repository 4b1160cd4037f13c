"""Images in one .npy array, uint8 (N, H, W, 3), such as the "300K random images" file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from study.data.images import ImageSet
from study.data.sources import Source
from study.errors import BadInput, Fault

FORMAT = {
    "suffixes": [".npy"],
    "sets": {"300k_random_images": ["300K_random_images.npy", "outliers/300K_random_images.npy"]},
}


def read(source: Source) -> ImageSet:
    """Map the file, which may be larger than the memory.

    Raises:
        BadInput: naming the file, if it is missing, truncated, or of another type or shape.
    """
    path = Path(source.location)
    try:
        if path.stat().st_size == 0:
            raise BadInput(Fault(str(path), "", "is an empty file", "Fetch it again."))
        # a plain array over the map: a memmap itself does not pickle out of band
        pixels = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except OSError as error:
        rule = f"cannot be read: {error.strerror or error}"
        raise BadInput(Fault(str(path), "", rule, "Check the path.")) from None
    except (ValueError, EOFError) as error:
        rule = f"is not a whole .npy array of numbers ({error})"
        way_out = "It may be truncated: fetch it again."
        raise BadInput(Fault(str(path), "", rule, way_out)) from None
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3:
        rule = f"must be uint8 (N, H, W, 3), is {pixels.dtype} {pixels.shape}"
        raise BadInput(Fault(str(path), "", rule, "Convert it to 8-bit RGB."))
    return ImageSet.make(source.name, pixels, provenance=str(path))
