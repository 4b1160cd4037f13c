"""Parameters of the recipe ``classifier``, free of torch."""

from __future__ import annotations

from typing import ClassVar, Literal

from study.declared import parameter
from study.recipes.detector_params import (
    DETECTOR_IMAGES,
    OF_DETECTORS,
    DetectorName,
    DetectorSettings,
    detector_rules,
)
from study.recipes.params import LATER, TrainParams
from study.section import Rule

SCORES = ("msp", "energy")
"""OOD scores of every trial."""


class ClassifierParams(TrainParams, DetectorSettings):
    """Training of a classifier, or of its last layer alone (recipe ``classifier``)."""

    fine_tune: Literal["full", "linear"] = parameter(
        "full",
        meaning="full: everything is trained. linear: the last layer alone, on features that are "
        "computed once; the rest, BatchNorm's statistics too, does not move, and dropout is off",
    )
    feature_views: int = parameter(
        4,
        ge=1,
        le=1000,
        meaning="of how many augmented views of each image those features are; an epoch takes one "
        "of them at random for each image",
        when={"fine_tune": ["linear"], "augment": ["crop_flip"]},
    )
    own_score: DetectorName = parameter(
        "msp", meaning="the score that the study selects by: msp, energy, or one of detectors"
    )
    detectors: list[DetectorName] = parameter(
        [],
        meaning="post-hoc detectors that score every validation set beside; after each epoch they "
        "are fitted anew on training ID images alone",
    )
    detector_images: int | None = parameter(
        DETECTOR_IMAGES,
        ge=10,
        meaning="training images, at most, that they are fitted on, the same ones in every trial",
        null="all",
    )

    name: ClassVar[str] = "classifier"
    module: ClassVar[str] = "classifier"
    unsearchable: ClassVar[frozenset[str]] = frozenset(
        {"own_score", "detectors", "detector_images"}
    )
    unwritten: ClassVar[frozenset[str]] = OF_DETECTORS | LATER
    rules: ClassVar[tuple[Rule, ...]] = (
        *TrainParams.rules,
        *detector_rules(SCORES),
        Rule(
            ("feature_views", "fine_tune"),
            lambda views, fine_tune: views == 4 or fine_tune == "linear",
            "feature_views has no effect with fine_tune: full",
            "Take feature_views out, or set fine_tune: linear.",
            has_effect=True,
        ),
        Rule(
            ("feature_views", "augment"),
            lambda views, augment: views == 4 or augment != "none",
            "feature_views has no effect with augment: none, where all views are one",
            "Take feature_views out, or set augment: crop_flip.",
            has_effect=True,
        ),
        Rule(
            ("augment", "fine_tune"),
            lambda augment, fine_tune: augment != "resized_crop_flip" or fine_tune != "linear",
            "fine_tune: linear computes its features on views of crop_flip or on the images alone",
            "Set augment: crop_flip, or fine_tune: full.",
        ),
        Rule(
            ("rotation", "fine_tune"),
            lambda rotation, fine_tune: rotation == 0 or fine_tune != "linear",
            "fine_tune: linear computes its features on images that are not turned",
            "Take rotation out, or set fine_tune: full.",
        ),
    )

    @property
    def has_path(self) -> bool:
        """Yes, but for detectors, which would have to be fitted anew at each of its points."""
        return not self.detectors

    @property
    def scores(self) -> tuple[str, ...]:
        """Those of the logits, and the detectors'."""
        return (*SCORES, *self.detectors)

    @property
    def selected_score(self) -> str:
        """As the YAML says."""
        return self.own_score
