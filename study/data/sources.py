"""Where a set of images lies and which reader understands it.

A :class:`Source` is plain data: it goes into a manifest and comes back from it. Reading is
:func:`read_source`, through a registry of readers:

==============  =======================================================================
``parquet``     Hugging Face's layout, one file (:mod:`study.data.parquet`)
``folder``      pictures in a folder (:mod:`study.data.folders`)
``imglist``     an image list of OpenOOD's form (:mod:`study.data.imglist`)
``npy``         one uint8 array, such as the 300K random images
``cifar10`` ..  torchvision's folders, by data set (:mod:`study.data.torchvision_sets`)
``demo``        the embedded demo's sets (:mod:`study.data.demo`)
``synthetic``   made from validation ID images (:mod:`study.data.synthetic`)
==============  =======================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from study.data import demo, torchvision_sets
from study.data.folders import read_image_folder
from study.data.images import ImageSet
from study.data.imglist import read_imglist
from study.data.parquet import read_parquet
from study.errors import BadInput, Fault

SYNTHETIC = "synthetic"
DEMO = "demo"


@dataclass(frozen=True)
class Source:
    """One set of images, not yet read.

    Attributes:
        name: what the set is called.
        reader: a key of READERS, or "synthetic".
        location: file or folder; for demo and synthetic sets the set's own name.
        split: train, val or test, for readers that have several.
        image_size: edge in pixels that the images must have, or are brought to.
        download: whether the reader may fetch what is not there (CIFAR-10 only).
    """

    name: str
    reader: str
    location: str
    split: str = ""
    image_size: int = 32
    download: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain form; :meth:`from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Source:
        """The source that :meth:`to_json` described.

        Raises:
            BadInput: for keys that are missing or unknown.
        """
        known = {field.name for field in fields(cls)}
        if not {"name", "reader", "location"} <= set(plain) <= known:
            rule = f"a data source needs name, reader, location; got {sorted(plain)}"
            raise BadInput(Fault("manifest", "data", rule, "It is not a record of this program."))
        return cls(**plain)

    def same_place(self, other: Source) -> bool:
        """Whether both read the same images, whatever they are called."""
        return (self.reader, self._place(), self.split) == (
            other.reader,
            other._place(),
            other.split,
        )

    def _place(self) -> str:
        if self.reader in (SYNTHETIC, DEMO):
            return self.location
        return str(Path(self.location).resolve())


READERS: dict[str, Callable[[Source], ImageSet]] = {
    "parquet": lambda s: read_parquet(Path(s.location), s.name, s.image_size),
    "folder": lambda s: read_image_folder(Path(s.location), s.name, s.image_size),
    "imglist": lambda s: read_imglist(Path(s.location), s.name, s.image_size),
    "npy": lambda s: torchvision_sets.read_npy(Path(s.location), s.name),
    "cifar10": lambda s: torchvision_sets.read_cifar(
        Path(s.location), s.name, s.split, hundred=False, download=s.download
    ),
    "cifar100": lambda s: torchvision_sets.read_cifar(
        Path(s.location), s.name, s.split, hundred=True, download=False
    ),
    "svhn": lambda s: torchvision_sets.read_svhn(Path(s.location), s.name, s.split),
    "dtd": lambda s: torchvision_sets.read_dtd(Path(s.location), s.name, s.split, s.image_size),
    "places365": lambda s: torchvision_sets.read_places365(Path(s.location), s.name, s.image_size),
    "lsun": lambda s: torchvision_sets.read_lsun(Path(s.location), s.name, s.image_size),
    "isun": lambda s: read_image_folder(Path(s.location), s.name, s.image_size),
    DEMO: lambda s: demo.demo_set(s.location, s.name),
}


def read_source(source: Source) -> ImageSet:
    """Read the images of ``source``.

    Raises:
        BadInput: for an unknown reader, files that cannot be used (see the readers), or images
            of another size than ``source.image_size``.
    """
    reader = READERS.get(source.reader)
    if reader is None:
        rule = f"no reader '{source.reader}'; there are {', '.join(sorted(READERS))}"
        raise BadInput(Fault(source.name, "", rule))
    images = reader(source)
    height, width = images.pixels.shape[1:3]
    if (height, width) != (source.image_size, source.image_size):
        size = source.image_size
        rule = f"images are {width}x{height}, data.image_size is {size}x{size}"
        way_out = "Set data.image_size to theirs, or name another set."
        raise BadInput(Fault(images.provenance, "", rule, way_out))
    return images
