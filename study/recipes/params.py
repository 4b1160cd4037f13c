"""Parameters of the recipes: the section ``train:`` of a space, free of torch.

A field is one key of the YAML, with its type, bounds and default; the defaults suit CIFAR-10 with
a ResNet-20. ``Rule`` holds what fields must satisfy together, as data, so that a space can be
checked over the whole range of a search and not only at one point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from study.losses.margins import Margin, MeasuredMargin

Schedule = Literal["cosine", "onecycle", "constant", "step", "linear"]
Weight = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Rule:
    """What several fields must satisfy together.

    Attributes:
        fields: the fields that ``holds`` takes, in order; the first is the one to blame. The
            rule is monotone in each numeric field, so checking the ends of ranges is enough.
        holds: whether values are good.
        text: the rule in words.
        way_out: what to do where it is broken.
        has_effect: the rule says when a field has an effect; it is enough that it holds
            somewhere in a search, and a single trial may break it.
    """

    fields: tuple[str, ...]
    holds: Callable[..., bool]
    text: str
    way_out: str
    has_effect: bool = False


class Section(BaseModel):
    """Base of every section of a space: strict types, no unknown keys, no NaN, immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        for rule in self.rules:
            values = [getattr(self, name) for name in rule.fields]
            if not rule.has_effect and not rule.holds(*values):
                context: dict[str, Any] = {"rule": rule.text, "way_out": rule.way_out}
                raise PydanticCustomError("rule", "{rule}. {way_out}", context)
        return self


class TrialParams(Section):
    """What every recipe's section ``train:`` has.

    Attributes:
        epochs: results that a trial reports, each after a pass over the images.
    """

    epochs: int = Field(default=1, ge=1, le=100_000)

    unsearchable: ClassVar[frozenset[str]] = frozenset()
    """Fields that are the same in all trials of a study: what they are compared by."""


class TrainParams(TrialParams):
    """Training of a classifier (recipe ``cifar10``).

    Attributes:
        epochs: passes over the images that an epoch draws.
        lr: learning rate at its highest.
        batch_size: ID images in a batch.
        optimizer: sgd, adam or adamw.
        momentum: of SGD; the first beta of Adam and AdamW. Dimensionless.
        nesterov: Nesterov's momentum in place of the plain one; of SGD alone.
        weight_decay: L2 penalty, dimensionless; AdamW's is decoupled from the gradient.
        schedule: shape of the learning rate over the training.
        scheduler_step: whether the learning rate moves once an epoch or at every batch.
        min_lr: where the schedule ends.
        warmup_epochs: epochs over which the learning rate rises to ``lr``.
        momentum_schedule: the same shapes for the momentum, from ``momentum`` to
            ``momentum_end``; onecycle comes back. It moves when the learning rate does.
        momentum_end: where that goes, above or below; dimensionless.
        weight_decay_schedule: the same for the weight decay.
        weight_decay_end: where that goes, above or below; dimensionless.
        label_smoothing: share of the target spread over all classes.
        augment: random crop (padding 4) and horizontal flip, or none.
        epoch_images: ID images an epoch draws at most; null draws all.
    """

    epochs: int = Field(default=100, ge=1, le=100_000)
    lr: float = Field(default=0.1, gt=0)
    batch_size: int = Field(default=128, ge=2)
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=5e-4, ge=0)
    schedule: Schedule = "cosine"
    scheduler_step: Literal["epoch", "batch"] = "batch"
    min_lr: float = Field(default=0.0, ge=0)
    warmup_epochs: int = Field(default=0, ge=0)
    momentum_schedule: Schedule = "constant"
    momentum_end: float = Field(default=0.0, ge=0, lt=1)
    weight_decay_schedule: Schedule = "constant"
    weight_decay_end: float = Field(default=0.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    augment: Literal["none", "crop_flip"] = "crop_flip"
    epoch_images: int | None = Field(default=None, ge=2)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            ("warmup_epochs", "epochs"),
            lambda warmup_epochs, epochs: warmup_epochs < epochs,
            "the warm-up must end before the training does (warmup_epochs < epochs)",
            "Lower warmup_epochs or raise epochs.",
        ),
        Rule(
            ("min_lr", "lr"),
            lambda min_lr, lr: min_lr <= lr,
            "the learning rate must not end above where it starts (min_lr <= lr)",
            "Lower min_lr or raise lr.",
        ),
        Rule(
            ("nesterov", "momentum"),
            lambda nesterov, momentum: momentum > 0 or not nesterov,
            "Nesterov's momentum needs a momentum above 0",
            "Set nesterov: false, or keep momentum above 0.",
        ),
        Rule(
            ("nesterov", "optimizer"),
            lambda nesterov, optimizer: optimizer == "sgd" or not nesterov,
            "Nesterov's momentum is SGD's; it has no effect with adam or adamw",
            "Set nesterov: false, or optimizer: sgd.",
            has_effect=True,
        ),
        Rule(
            ("epoch_images", "batch_size"),
            lambda images, batch_size: images is None or images >= batch_size,
            "an epoch must draw at least one batch (epoch_images >= batch_size)",
            "Raise epoch_images or lower batch_size.",
        ),
        Rule(
            ("min_lr", "schedule"),
            lambda min_lr, schedule: min_lr == 0 or schedule != "constant",
            "min_lr has no effect with schedule: constant",
            "Take min_lr out, or choose a schedule that falls.",
            has_effect=True,
        ),
        Rule(
            ("momentum_end", "momentum_schedule"),
            lambda end, schedule: end == 0 or schedule != "constant",
            "momentum_end has no effect with momentum_schedule: constant",
            "Take momentum_end out, or choose another momentum_schedule.",
            has_effect=True,
        ),
        Rule(
            ("momentum_schedule", "momentum", "momentum_end"),
            lambda schedule, start, end: schedule == "constant" or start != end,
            "a momentum_schedule from momentum to an equal momentum_end has no effect",
            "Take it out, or set momentum_end above or below momentum.",
            has_effect=True,
        ),
        Rule(
            ("weight_decay_end", "weight_decay_schedule"),
            lambda end, schedule: end == 0 or schedule != "constant",
            "weight_decay_end has no effect with weight_decay_schedule: constant",
            "Take weight_decay_end out, or choose another weight_decay_schedule.",
            has_effect=True,
        ),
        Rule(
            ("weight_decay_schedule", "weight_decay", "weight_decay_end"),
            lambda schedule, start, end: schedule == "constant" or start != end,
            "a weight_decay_schedule from weight_decay to an equal weight_decay_end has no effect",
            "Take it out, or set weight_decay_end above or below weight_decay.",
            has_effect=True,
        ),
    )


class ClassifierParams(TrainParams):
    """Training of a classifier, or of its last layer alone (recipe ``cifar10``).

    Attributes:
        fine_tune: full: everything is trained. linear: the last layer alone, on features that are
            computed once; the rest, BatchNorm's statistics too, does not move, and dropout is off.
        feature_views: of linear, how many augmented views of each image those features are of; an
            epoch takes one of them at random for each image. Without augmentation there is one.
    """

    fine_tune: Literal["full", "linear"] = "full"
    feature_views: int = Field(default=4, ge=1, le=1000)

    rules: ClassVar[tuple[Rule, ...]] = (
        *TrainParams.rules,
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
    """

    epochs: int = Field(default=10, ge=1, le=100_000)
    lr: float = Field(default=1e-3, gt=0)
    m_in: Margin = Field(default=MeasuredMargin("below", "id_energy", 2.0))
    m_out: Margin = Field(default=MeasuredMargin("above", "outlier_energy", 0.0))
    energy_weight: float = Field(default=0.1, ge=0)  # lambda in the paper
    temperature: float = Field(default=1.0, gt=0)
    outlier_batch_size: int = Field(default=256, ge=1)
    outlier_order: Literal["shuffled", "window"] = "shuffled"
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
