"""The sets of the embedded demo (`study.data.demo`), which lie nowhere."""

from __future__ import annotations

from study.data.demo import demo_set
from study.data.images import ImageSet
from study.data.sources import Source

FORMAT: dict[str, object] = {}


def read(source: Source) -> ImageSet:
    """Make the set that the location names."""
    return demo_set(source.location, source.name)
