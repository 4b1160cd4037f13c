"""The section ``data`` of a space: which images, by role."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from study.data.names import AUTO
from study.section import Section, broken_rule


def _set_names(raw: Any) -> str | list[str]:
    if raw == AUTO:
        return AUTO
    if not isinstance(raw, list):
        raise broken_rule(
            "must be `auto` or a list of names and paths", f"Write [{raw}] for one set."
        )
    if not raw:
        raise broken_rule("a list of sets names at least one", "Name a set, or write auto.")
    for name in raw:
        if not isinstance(name, str) or not name:
            raise broken_rule("a set is named by text", f"Quote {name!r}, or take it out.")
    return list(raw)


SetNames = Annotated[str | list[str], PlainValidator(_set_names)]
"""``auto``, or a list of names and paths of sets."""


class DataSection(Section):
    """Where images come from, by role.

    Attributes:
        id: ``auto``, ``cifar10``, ``demo``, or a path.
        outliers: auxiliary outliers to train on.
        ood_val: OOD validation sets.
        ood_test: OOD test sets, opened by the final test only.
        val_fraction: share of the ID training images held out for validation.
        split_seed: seed of that cut; not the study's, so that studies share their validation.
        confirm_fraction: share of every validation set, ID and OOD, that is kept for confirmation
            alone, cut off by source: confirming runs are ranked on it, the search never sees it.
            At most 0.5; 0 keeps none. Needs select.confirm.
        image_size: side of the images, pixels.
        outlier_id_classes: what to do with classes of the ID set in a labelled outlier set.
        leaks: what to do with an image that is in a test role too.
        id_near_duplicates: what to do with training images that a test image nearly equals.
    """

    id: str = AUTO
    outliers: SetNames = AUTO
    ood_val: SetNames = AUTO
    ood_test: SetNames = AUTO
    val_fraction: float = Field(default=0.1, gt=0, lt=1)
    split_seed: int = Field(default=0, ge=0, lt=2**63)
    confirm_fraction: float = Field(default=0.0, ge=0, le=0.5)
    image_size: int = Field(default=32, ge=8, le=1024)
    outlier_id_classes: Literal["refuse", "filter"] = "refuse"
    leaks: Literal["stop", "drop"] = "stop"
    id_near_duplicates: Literal["keep", "drop"] = "keep"
