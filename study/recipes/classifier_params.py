"""Parameters of a classifier's training and of energy fine-tuning, free of torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from study.losses.margins import Margin, MeasuredMargin
from study.recipes.detector_params import (
    DETECTOR_IMAGES,
    OF_DETECTORS,
    DetectorName,
    DetectorSettings,
    detector_rules,
    refuse_taken,
)
from study.recipes.params import TrainParams
from study.section import Rule

Weight = Annotated[float, Field(gt=0)]
SCORES = ("msp", "energy")
"""OOD scores of every trial."""


class ClassifierParams(TrainParams, DetectorSettings):
    """Training of a classifier, or of its last layer alone (recipe ``classifier``).

    Attributes:
        fine_tune: full: everything is trained. linear: the last layer alone, on features that are
            computed once; the rest, BatchNorm's statistics too, does not move, and dropout is off.
        feature_views: of linear, how many augmented views of each image those features are of; an
            epoch takes one of them at random for each image. Without augmentation there is one.
        own_score: the score that the study selects by: msp, energy, or one of ``detectors``.
        detectors: post-hoc detectors that score every validation set beside; after each epoch
            they are fitted anew on training ID images alone.
        detector_images: training images, at most, that they are fitted on, the same ones in every
            trial; null takes all.
    """

    fine_tune: Literal["full", "linear"] = "full"
    feature_views: int = Field(default=4, ge=1, le=1000)
    own_score: DetectorName = "msp"
    detectors: list[DetectorName] = Field(default=[])
    detector_images: int | None = Field(default=DETECTOR_IMAGES, ge=10)

    unsearchable: ClassVar[frozenset[str]] = frozenset(
        {"own_score", "detectors", "detector_images"}
    )
    unwritten: ClassVar[frozenset[str]] = OF_DETECTORS
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
    )


class EnergyParams(ClassifierParams):
    """Energy fine-tuning (recipe ``energy``); defaults of Liu et al. 2020 but for the margins.

    Attributes:
        m_in: margin of ID images, nats or measured; the paper's was -23.
        m_out: margin of outliers, nats or measured; the paper's was -5.
        energy_weight: weight of the energy terms.
        temperature: T of the energy, in loss and score alike.
        outlier_batch_size: outliers in a batch, beside the ID images.
        outlier_order: a fresh shuffle each epoch, or a contiguous window from a random offset.
        outlier_weights: source -> how often an outlier is drawn from it, against the others; every
            source of ``data.outliers`` has one. null: all their images alike.
        max_outliers: so many outliers at most, the same ones in every trial, and of a larger
            number the smaller are a part; null takes all.
        own_score: as of the classifier, by default the energy.
    """

    epochs: int = Field(default=10, ge=1, le=100_000)
    lr: float = Field(default=1e-3, gt=0)
    m_in: Margin = Field(default=MeasuredMargin("below", "id_energy", 2.0))
    m_out: Margin = Field(default=MeasuredMargin("above", "outlier_energy", 0.0))
    energy_weight: float = Field(default=0.1, ge=0)  # lambda in the paper
    temperature: float = Field(default=1.0, gt=0)
    outlier_batch_size: int = Field(default=256, ge=1)
    outlier_order: Literal["shuffled", "window"] = "shuffled"
    own_score: DetectorName = "energy"
    outlier_weights: Annotated[dict[str, Weight], Field(min_length=1)] | None = None
    max_outliers: int | None = Field(default=None, ge=1)

    rules: ClassVar[tuple[Rule, ...]] = (
        *ClassifierParams.rules,
        Rule(
            ("max_outliers", "outlier_batch_size"),
            lambda most, batch_size: most is None or most >= batch_size,
            "a batch must not be larger than the outliers that there are to be "
            "(max_outliers >= outlier_batch_size)",
            "Raise max_outliers or lower outlier_batch_size.",
        ),
        Rule(
            ("m_in", "m_out"),
            lambda m_in, m_out: (
                isinstance(m_in, MeasuredMargin)
                or isinstance(m_out, MeasuredMargin)
                or m_in < m_out
            ),
            "m_in must stay below m_out",
            "Lower m_in or raise m_out (the paper used -23 and -5).",
        ),
    )


refuse_taken(EnergyParams)
