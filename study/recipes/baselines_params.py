"""Parameters of the recipe ``baselines``, and what follows from them, free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from study.detectors.catalog import CATALOG
from study.recipes.detector_params import (
    ADDED,
    FIELDS,
    AllDetectorSettings,
    DetectorName,
    refuse_taken,
)
from study.section import Rule, effect_rule

OWN_SCORE = "detector"
"""The score of a trial's detector, whichever it is, so that trials compare in one column."""

WITHOUT_HEAD = tuple(name for name, one in CATALOG.items() if not one.head)
"""Detectors that look at features alone."""


class BaselineParams(AllDetectorSettings):
    """A trained classifier as it is, scored by one post-hoc detector (recipe ``baselines``).

    Attributes:
        epochs: one: a trial trains nothing, and scores once.
        detector: a key of ``study.detectors.catalog.CATALOG``.
        head: trained: the classifier's own. none: the weights have no trained head (ImageNet,
            self-supervised), whose energy would mean nothing: features alone are scored, and the
            predicted class is that of the nearest class mean of training features.

    Every parameter of every detector is a field too, null by default.
    """

    epochs: int = Field(default=1, ge=1, le=1)
    detector: DetectorName = "energy"
    head: Literal["trained", "none"] = "trained"

    unsearchable: ClassVar[frozenset[str]] = frozenset({"epochs", "head"})
    unwritten: ClassVar[frozenset[str]] = ADDED

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            ("detector", "head"),
            lambda detector, head: head == "trained" or detector in WITHOUT_HEAD,
            "this detector needs a trained head, and head: none says that there is none",
            f"Choose among {', '.join(WITHOUT_HEAD)}, or train a head first.",
        ),
        *(
            effect_rule(field, None, "detector", [name], f"with another detector than {name}")
            for field, (name, _) in FIELDS.items()
        ),
    )


refuse_taken(BaselineParams)


def baseline_own_score(train: Mapping[str, Any]) -> str:
    """The trial's detector, whatever else it reports."""
    del train
    return OWN_SCORE


def baseline_scores(params: Any) -> tuple[str, ...]:
    """The detector, and beside it MSP and energy, which cost nothing, where there is a head."""
    return (OWN_SCORE, "msp", "energy") if params.head == "trained" else (OWN_SCORE,)
