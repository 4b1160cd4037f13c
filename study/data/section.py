"""The section ``data`` of a space: which images, by role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from study.data.names import AUTO
from study.section import Section, broken_rule


def _set_names(raw: Any) -> str | list[str]:
    if raw == AUTO:
        return AUTO
    if not isinstance(raw, list):
        one = raw if isinstance(raw, str) else "NAME"
        rule = "must be `auto` or a list of names and paths"
        raise broken_rule(rule, f"Write [{one}] for one set.")
    for name in raw:
        if not isinstance(name, str) or not name:
            raise broken_rule("a set is named by text", f"Quote {name!r}, or take it out.")
    return list(raw)


def _some_set_names(raw: Any) -> str | list[str]:
    if raw == []:
        raise broken_rule("a list of sets names at least one", "Name a set, or write auto.")
    return _set_names(raw)


SetNames = Annotated[str | list[str], PlainValidator(_some_set_names)]
"""``auto``, or a list of names and paths of sets."""

SetNamesOrNone = Annotated[str | list[str], PlainValidator(_set_names)]
"""The same, or an empty list for no set."""


@dataclass(frozen=True)
class HoldOut:
    """Classes of the ID set that are no ID classes, but near-OOD.

    Attributes:
        near_val: whose training images are the OOD validation set of this name.
        near_test: whose test images are the OOD test set of this name.
    """

    near_val: tuple[str, ...] = ()
    near_test: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """All that are held out."""
        return (*self.near_val, *self.near_test)

    def __str__(self) -> str:
        """``near_val beagle, boxer; near_test pug``."""
        told = {"near_val": self.near_val, "near_test": self.near_test}
        return "; ".join(f"{role} {', '.join(names)}" for role, names in told.items() if names)

    def plain(self) -> dict[str, Any]:
        """The form of the YAML."""
        return {"near_val": list(self.near_val), "near_test": list(self.near_test)}


_HOLD_OUT_FORM = "Write {near_val: [beagle, boxer], near_test: [pug, vizsla]}."


def _hold_out(raw: Any) -> HoldOut | None:
    if raw is None or isinstance(raw, HoldOut):
        return raw
    roles = ("near_val", "near_test")
    if not isinstance(raw, dict) or not raw or not set(raw) <= set(roles):
        rule = "holds classes of the ID set out as near_val, near_test or both"
        raise broken_rule(rule, _HOLD_OUT_FORM)
    named: dict[str, tuple[str, ...]] = {}
    for role, given in raw.items():
        whole = isinstance(given, list) and all(
            isinstance(one, str | int) and not isinstance(one, bool) and one != "" for one in given
        )
        if not whole or not given:
            raise broken_rule(f"{role} is a list of classes by name", _HOLD_OUT_FORM)
        named[role] = tuple(map(str, given))
    told = HoldOut(**named)
    twice = next((one for one in told.classes if told.classes.count(one) > 1), None)
    if twice is not None:
        rule = (
            f"class '{twice}' is named twice; each has one role, or selection would see the test"
        )
        raise broken_rule(rule, "Name it once.")
    return told


def _plain(held_out: HoldOut | None) -> dict[str, Any] | None:
    return None if held_out is None else held_out.plain()


UNWRITTEN = ("enlarge", "grey", "hold_out")
"""Fields that a resolved spec leaves out while they have their defaults: they came later."""


class DataSection(Section):
    """Where images come from, by role.

    Attributes:
        id: ``auto``, ``cifar10``, ``demo``, or a folder with train and test, and val where there
            is one.
        outliers: auxiliary outliers to train on.
        ood_val: OOD validation sets.
        ood_test: OOD test sets, opened by the final test only; ``[]`` for none.
        val_fraction: share of the ID training images held out for validation, where the ID set
            has no validation set of its own. By default 0.1, of the embedded demo 0.3: a tenth of
            its few digits could not measure a floor one point under the base.
        split_seed: seed of that cut; not the study's, so that studies share their validation.
        confirm_fraction: share of every validation set, ID and OOD, that is kept apart, cut off by
            source: neither search nor selection ever goes by it. With select.confirm the
            confirming runs alone are scored on it, and ranked; without, every trial is, to tell
            what its choice is worth on other images. At most 0.5; 0 keeps none.
        image_size: side of the images, pixels: all are brought to it. By default that of the ID
            set's own images, where they are squares of one size, and else 32.
        enlarge: whether images that are smaller are enlarged; else they are refused.
        grey: what becomes of grey-scale images: refused, or ``rgb``: taken with equal channels.
        hold_out: classes of the ID set that serve as OOD validation and test instead, by name.
        outlier_id_classes: what to do with classes of the ID set in a labelled outlier set.
        leaks: what to do with an image that is in a test role too.
        id_near_duplicates: what to do with training images that a test image nearly equals.
    """

    id: str = AUTO
    outliers: SetNames = AUTO
    ood_val: SetNames = AUTO
    ood_test: SetNamesOrNone = AUTO
    val_fraction: float | None = Field(default=None, gt=0, lt=1)
    split_seed: int = Field(default=0, ge=0, lt=2**63)
    confirm_fraction: float = Field(default=0.0, ge=0, le=0.5)
    image_size: int | None = Field(default=None, ge=8, le=1024)
    enlarge: bool = False
    grey: Literal["refuse", "rgb"] = "refuse"
    hold_out: Annotated[HoldOut | None, PlainValidator(_hold_out), PlainSerializer(_plain)] = None
    outlier_id_classes: Literal["refuse", "filter"] = "refuse"
    leaks: Literal["stop", "drop"] = "stop"
    id_near_duplicates: Literal["keep", "drop"] = "keep"

    @model_serializer(mode="wrap")
    def _without_added(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        told: dict[str, Any] = dump(self)
        fields = type(self).model_fields
        at_default = [key for key in UNWRITTEN if getattr(self, key) == fields[key].default]
        return {key: value for key, value in told.items() if key not in at_default}
