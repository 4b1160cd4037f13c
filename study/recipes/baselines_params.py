"""Parameters of the recipe ``baselines``, and what follows from them, free of torch."""

from __future__ import annotations

from typing import ClassVar, Literal

from study.declared import parameter
from study.detectors.catalog import CATALOG
from study.recipes.detector_params import (
    ADDED,
    FIELDS,
    AllDetectorSettings,
    DetectorName,
    refuse_taken,
)
from study.recipes.params import HeadNeed
from study.section import Rule, effect_rule

OWN_SCORE = "detector"
"""The score of a trial's detector, whichever it is, so that trials compare in one column."""

WITHOUT_HEAD = tuple(name for name, one in CATALOG.items() if not one.head)
"""Detectors that look at features alone."""


class BaselineParams(AllDetectorSettings):
    """A trained classifier as it is, scored by one post-hoc detector (recipe ``baselines``).

    Every parameter of every detector is a field too, null by default.
    """

    name: ClassVar[str] = "baselines"
    module: ClassVar[str] = "baselines"
    base: ClassVar[Literal["none", "start", "optional"]] = "start"
    below_features: ClassVar[tuple[str, ...]] = ("vim_dimension",)
    asked_of_data: ClassVar[frozenset[str]] = frozenset({"detector", *FIELDS})

    epochs: int = parameter(1, ge=1, le=1, meaning="one: a trial trains nothing, and scores once")
    detector: DetectorName = parameter("energy", meaning="the one that scores")
    head: Literal["trained", "none"] = parameter(
        "trained",
        meaning="trained: the classifier's own. none: the weights have no trained head (ImageNet, "
        "self-supervised), whose energy would mean nothing: features alone are scored, and the "
        "predicted class is that of the nearest class mean of training features",
    )

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

    @property
    def scores(self) -> tuple[str, ...]:
        """The detector, and with a head MSP and energy beside, which cost nothing."""
        return (OWN_SCORE, "msp", "energy") if self.head == "trained" else (OWN_SCORE,)

    @property
    def selected_score(self) -> str:
        """The trial's detector, whatever else it reports."""
        return OWN_SCORE

    @property
    def trains(self) -> bool:
        """Never."""
        return False

    @property
    def needs_head(self) -> HeadNeed | None:
        """The detectors of a trained head do."""
        if self.head == "none":
            return None
        way_out = "Train a base on CIFAR-10 first (model.init: base), or set train.head: none."
        return HeadNeed("head", "recipe baselines scores a trained classifier", way_out)


refuse_taken(BaselineParams)
