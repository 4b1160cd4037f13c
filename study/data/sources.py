"""Where a set of images lies and which format it has; plain data, that goes into a manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from study.errors import BadInput, Fault

SYNTHETIC = "synthetic"
DEMO = "demo"


@dataclass(frozen=True)
class Source:
    """One set of images, not yet read.

    Attributes:
        name: what the set is called.
        reader: name of the file of ``study/data/formats`` that reads it, or "synthetic".
        location: file or folder; for demo and synthetic sets the set's own name.
        split: train, val or test, for readers that have several.
        image_size: edge in pixels that the images are brought to.
        download: whether the reader may fetch what is not there (CIFAR-10 only).
        enlarge: whether smaller images are enlarged; else they are a fault.
        grey: whether grey-scale images are taken, with equal channels; else they are a fault.
        shorter_side: brought to size as OpenOOD does (`study.data.decode`).
        only: the classes that are taken, by name; empty for all.
        without: classes that are left out, by name.
    """

    name: str
    reader: str
    location: str
    split: str = ""
    image_size: int = 32
    download: bool = False
    enlarge: bool = False
    grey: bool = False
    shorter_side: bool = False
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

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
        listed = {key: tuple(plain.get(key, ())) for key in ("only", "without")}
        return cls(**{**plain, **listed})

    def shares_images(self, other: Source) -> bool:
        """Whether both read some image alike, whatever they are called."""
        if (self.reader, self._place(), self.split) != (other.reader, other._place(), other.split):
            return False
        if self.only and other.only:
            return bool({*self.only} & {*other.only})
        chosen, rest = (self, other) if self.only else (other, self)
        return not chosen.only or bool({*chosen.only} - {*rest.without})

    def _place(self) -> str:
        if self.reader in (SYNTHETIC, DEMO):
            return self.location
        return str(Path(self.location).resolve())
