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
