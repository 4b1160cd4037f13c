"""Parameters of the recipes: the section ``train:`` of a space, free of torch.

A field is one key of the YAML, with its type, bounds, default and meaning; the defaults suit
CIFAR-10 with a ResNet-20. ``Rule`` holds what fields must satisfy together, as data, so that a
space can be checked over the whole range of a search and not only at one point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, NamedTuple

from study.declared import parameter
from study.section import Rule, Section

Schedule = Literal["cosine", "onecycle", "constant", "step", "linear"]
MOVING: Final = ("cosine", "onecycle", "step", "linear")
"""Schedules along which something changes."""


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

    Class variables say what is the same for all of its trials.
    """

    epochs: int = parameter(
        1,
        ge=1,
        le=100_000,
        meaning="results that a trial reports, each after a pass over the images",
    )

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

    files: ClassVar[frozenset[str]] = frozenset()
    """Fields that hold the path of a file, which trials and whoever rebuilds one read."""

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
    def has_path(self) -> bool:
        """Whether weights between the base's and a trial's are models of the recipe too."""
        return False

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


LATER = frozenset({"crop_least_area", "rotation", "precision", "graph", "deterministic"})
"""Parameters of training that came later: specs leave them out at their defaults."""


class TrainParams(TrialParams):
    """Training by an optimizer, with what moves over its course."""

    unwritten: ClassVar[frozenset[str]] = LATER

    epochs: int = parameter(
        100, ge=1, le=100_000, meaning="passes over the images that an epoch draws"
    )
    lr: float = parameter(0.1, gt=0, meaning="learning rate at its highest")
    batch_size: int = parameter(128, ge=2, meaning="ID images in a batch")
    optimizer: Literal["sgd", "adam", "adamw"] = parameter("sgd", meaning="what takes the steps")
    momentum: float = parameter(
        0.9, ge=0, lt=1, meaning="of SGD; the first beta of Adam and AdamW; dimensionless"
    )
    nesterov: bool = parameter(
        True, meaning="Nesterov's momentum in place of the plain one", when={"optimizer": ["sgd"]}
    )
    weight_decay: float = parameter(
        5e-4, ge=0, meaning="L2 penalty, dimensionless; AdamW's is decoupled from the gradient"
    )
    schedule: Schedule = parameter(
        "cosine", meaning="shape of the learning rate over the training"
    )
    scheduler_step: Literal["epoch", "batch"] = parameter(
        "batch", meaning="whether the learning rate moves once an epoch or at every batch"
    )
    min_lr: float = parameter(
        0.0, ge=0, meaning="where the schedule ends", when={"schedule": MOVING}
    )
    warmup_epochs: int = parameter(
        0, ge=0, meaning="epochs over which the learning rate rises to lr"
    )
    momentum_schedule: Schedule = parameter(
        "constant",
        meaning="the same shapes for the momentum, from momentum to momentum_end; onecycle comes "
        "back; it moves when the learning rate does",
    )
    momentum_end: float = parameter(
        0.0,
        ge=0,
        lt=1,
        meaning="where the momentum goes, above or below; dimensionless",
        when={"momentum_schedule": MOVING},
    )
    weight_decay_schedule: Schedule = parameter(
        "constant", meaning="the same for the weight decay"
    )
    weight_decay_end: float = parameter(
        0.0,
        ge=0,
        meaning="where the weight decay goes, above or below; dimensionless",
        when={"weight_decay_schedule": MOVING},
    )
    label_smoothing: float = parameter(
        0.0, ge=0, lt=1, meaning="share of the target spread over all classes"
    )
    augment: Literal["none", "crop_flip", "resized_crop_flip"] = parameter(
        "crop_flip",
        meaning="random crop (padding 4 at 32 pixels) and horizontal flip, torchvision's random "
        "resized crop and the flip, or none",
    )
    crop_least_area: float = parameter(
        0.08,
        gt=0,
        le=1,
        meaning="smallest share of the image that a resized crop has; the largest is all of it",
        when={"augment": ["resized_crop_flip"]},
    )
    rotation: float = parameter(
        0.0,
        ge=0,
        le=180,
        meaning="degrees, either way, by which images are turned at most, before the crop; the "
        "corners are black",
    )
    epoch_images: int | None = parameter(
        None, ge=2, meaning="ID images an epoch draws at most", null="all"
    )
    precision: Literal["auto", "fp32", "bf16"] = parameter(
        "auto",
        meaning="what the network computes in as it trains; losses, weights and all scoring are "
        "fp32 or better. auto: bf16 on a GPU that has it, fp32 elsewhere",
    )
    graph: Literal["auto", True, False] = parameter(
        "auto",
        meaning="whether a step is one CUDA graph. auto: on a GPU, where loss and schedules allow",
    )
    deterministic: bool = parameter(
        False,
        meaning="on a GPU, kernels that give the same bits from run to run, as --replay wants "
        "them, in place of the fastest",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        *(
            Rule(
                ("graph", moving),
                lambda graph, schedule: graph is not True or schedule == "constant",
                f"a graph repeats one step, in which {moving.removesuffix('_schedule')} is fixed",
                f"Set graph: auto, or {moving}: constant.",
            )
            for moving in ("momentum_schedule", "weight_decay_schedule")
        ),
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
            ("momentum_schedule", "momentum", "momentum_end"),
            lambda schedule, start, end: schedule == "constant" or start != end,
            "a momentum_schedule from momentum to an equal momentum_end has no effect",
            "Take it out, or set momentum_end above or below momentum.",
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
