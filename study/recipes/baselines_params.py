"""Parameters of the recipe ``baselines``, and what follows from them, free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from study.detectors.catalog import CATALOG
from study.recipes.detector_params import DetectorName, DetectorSettings, split
from study.section import Rule

OWN_SCORE = "detector"
"""The score of a trial's detector, whichever it is, so that trials compare in one column."""

WITHOUT_HEAD = ("mahalanobis", "rmd", "knn")
"""Detectors that look at features alone."""


def _only(name: str) -> Rule:
    """A parameter that is given has an effect under its own detector alone."""
    detector, _ = split(name)
    return Rule(
        (name, "detector"),
        lambda value, chosen: value is None or chosen == detector,
        f"{name} has no effect with another detector than {detector}",
        f"Take {name} out, or choose detector: {detector}.",
        has_effect=True,
    )


class BaselineParams(DetectorSettings):
    """A trained classifier as it is, scored by one post-hoc detector (recipe ``baselines``).

    Attributes:
        epochs: one: a trial trains nothing, and scores once.
        detector: a key of ``study.detectors.catalog.CATALOG``.
        head: trained: the classifier's own. none: the weights have no trained head (ImageNet,
            self-supervised), whose energy would mean nothing: features alone are scored, and the
            predicted class is that of the nearest class mean of training features.
        msp_temperature: divides the logits, dimensionless.
        energy_temperature: the same. The other parameters are those of `DetectorSettings`.
    """

    epochs: int = Field(default=1, ge=1, le=1)
    detector: DetectorName = "energy"
    head: Literal["trained", "none"] = "trained"
    msp_temperature: float | None = Field(default=None, gt=0)
    energy_temperature: float | None = Field(default=None, gt=0)

    unsearchable: ClassVar[frozenset[str]] = frozenset({"epochs", "head"})

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            ("detector", "head"),
            lambda detector, head: head == "trained" or detector in WITHOUT_HEAD,
            "this detector needs a trained head, and head: none says that there is none",
            f"Choose among {', '.join(WITHOUT_HEAD)}, or train a head first.",
        ),
        *(_only(f"{name}_{key}") for name, one in CATALOG.items() for key in one.parameters),
    )


def baseline_own_score(train: Mapping[str, Any]) -> str:
    """The trial's detector, whatever else it reports."""
    del train
    return OWN_SCORE


def baseline_scores(params: Any) -> tuple[str, ...]:
    """The detector, and beside it MSP and energy, which cost nothing, where there is a head."""
    return (OWN_SCORE, "msp", "energy") if params.head == "trained" else (OWN_SCORE,)
