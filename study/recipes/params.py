"""Parameters of the recipes: the section ``train:`` of a space, free of torch.

A field is one key of the YAML, with its type, bounds and default; the defaults suit CIFAR-10 with
a ResNet-20. ``Rule`` holds what fields must satisfy together, as data, so that a space can be
checked over the whole range of a search and not only at one point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from study.section import Rule, Section

Schedule = Literal["cosine", "onecycle", "constant", "step", "linear"]


@dataclass(frozen=True)
class Remark:
    """What is said of a trial whose last epoch has a metric this high.

    Attributes:
        metric: its name.
        at_least: from where on.
        text: the remark, with the metric's value in its braces.
    """

    metric: str
    at_least: float
    text: str


class HeadNeed(NamedTuple):
    """Why what trials start from must have a trained head.

    Attributes:
        field: of the parameters, that has it so.
        why: in words.
        way_out: what else can be done.
    """

    field: str
    why: str
    way_out: str


class TrialParams(Section):
    """A recipe's section ``train:``, and what a space must know of the recipe beside.

    Attributes:
        epochs: results that a trial reports, each after a pass over the images.
    """

    epochs: int = Field(default=1, ge=1, le=100_000)

    name: ClassVar[str]
    """As in ``recipe:``."""

    module: ClassVar[str]
    """Its file in ``study/recipes``; ``energy`` has the class ``EnergyRecipe``."""

    needs_outliers: ClassVar[bool] = False
    """Whether it trains on auxiliary outliers."""

    base: ClassVar[Literal["none", "start", "optional"]] = "none"
    """What it does with a trained classifier, the section ``base:``. "none": nothing; "start":
    trials start from it; "optional": they may, or may look at it."""

    base_parameter: ClassVar[str] = ""
    """With "optional", the field whose value "base" is a look at the base."""

    measures_base: ClassVar[bool] = False
    """Whether a base is measured by this recipe's scores, in place of a classifier's."""

    needs_maps: ClassVar[bool] = False
    """Whether the backbone's maps must divide the image, as a decoder needs."""

    least_image_size: ClassVar[Mapping[str, Mapping[str, int]]] = {}
    """Field -> its value -> the least side of the images, pixels."""

    below_features: ClassVar[tuple[str, ...]] = ()
    """Fields that must stay below the number of the backbone's features."""

    asked_of_data: ClassVar[frozenset[str]] = frozenset()
    """Fields whose ends, where they are searched, ``Recipe.check`` is asked about."""

    remarks: ClassVar[tuple[Remark, ...]] = ()
    """What is said of trials."""

    unsearchable: ClassVar[frozenset[str]] = frozenset()
    """Fields that are the same in all trials of a study: what they are compared by."""

    unwritten: ClassVar[frozenset[str]] = frozenset()
    """Fields that a resolved spec leaves out while they have their defaults."""

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the OOD scores that every validation of a trial reports."""
        raise NotImplementedError

    @property
    def selected_score(self) -> str:
        """The one that the means over OOD sets, and so the selection, are of."""
        raise NotImplementedError

    @property
    def trains(self) -> bool:
        """Whether the trial trains; else it scores what it starts from, in one epoch."""
        return True

    @property
    def uses_margins(self) -> bool:
        """Whether m_in and m_out play a part."""
        return False

    @property
    def needs_head(self) -> HeadNeed | None:
        """Whether, and why, trials must start from a trained head."""
        return None

    @classmethod
    def remark(cls, metrics: Mapping[str, float]) -> str:
        """What metrics of an epoch give cause to say of a trial; empty for nothing."""
        said = (
            one.text.format(metrics[one.metric])
            for one in cls.remarks
            if metrics.get(one.metric, -math.inf) >= one.at_least
        )
        return "; ".join(said)


class TrainParams(TrialParams):
    """Training of a classifier (recipe ``classifier``).

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
