"""The sections of a space beside ``train`` and ``search``: data, model, base, tune, select."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    create_model,
    model_serializer,
)

from study.data.names import AUTO
from study.data.section import DataSection
from study.models.names import Normalisation, Stem
from study.recipes.params import TrainParams
from study.records.disk import parse_bytes
from study.scoring.objective import PENALTY
from study.scoring.path import ALPHAS, HALVINGS
from study.searchers.catalog import Searcher, searchers
from study.searchers.rungs import rung_epochs
from study.section import Section, broken_rule

FloorKind = Literal["below_base", "at_least"]
_FLOOR_FORM = "{id_accuracy: {below_base: 0.01}} or {id_accuracy: {at_least: 0.9}}"
_SURE_FORM = "{id_accuracy: {below_base: 0.01, confidence: 0.9}}"
_PATH_FORM = "true, false or alphas between 0 and 1, such as [0.25, 0.5, 0.75]"
OWN_FLOOR = "Write {id_accuracy: {at_least: 0.9}}; at_least: 0 lets everything through."
_CONFIRM_FORM = "{top: 3, seeds: 3}"
_MOST_CONFIRMED = 1000
_MOST_ALPHAS = 20


@dataclass(frozen=True)
class Told:
    """In a field's annotation: the rule and the way out for whatever is wrong with its value."""

    rule: str
    way_out: str


@dataclass(frozen=True)
class FloorRule:
    """The least validation ID accuracy that a selected model must have.

    Attributes:
        kind: ``below_base``: so much below the base's; ``at_least``: absolute.
        value: a fraction.
        confidence: with what probability the choice must hold it; None where what was measured
            must.
    """

    kind: FloorKind
    value: float
    confidence: float | None = None

    def accuracy(self, base_accuracy: float | None) -> float:
        """The least accuracy, a fraction (ValueError if it is relative and there is no base)."""
        if self.kind == "at_least":
            return self.value
        if base_accuracy is None:
            raise ValueError("a floor below the base's accuracy needs a base")
        return base_accuracy - self.value

    def plain(self) -> dict[str, Any]:
        """The form of the YAML."""
        sure = {} if self.confidence is None else {"confidence": self.confidence}
        return {"id_accuracy": {self.kind: self.value, **sure}}


def _parse_floor(raw: Any) -> FloorRule | None:
    if raw is None or isinstance(raw, FloorRule):
        return raw
    inner = raw.get("id_accuracy") if isinstance(raw, dict) and len(raw) == 1 else None
    inner = dict(inner) if isinstance(inner, dict) else {}
    confidence = inner.pop("confidence", None)
    if len(inner) != 1 or next(iter(inner)) not in get_args(FloorKind):
        rule = "a floor is on id_accuracy, below the base or absolute"
        raise broken_rule(rule, f"Write {_FLOOR_FORM}.")
    kind, value = next(iter(inner.items()))
    if not _is_number(value):
        raise broken_rule("a floor must be a number", f"Write {_FLOOR_FORM}.")
    if not 0 <= value <= 1:
        raise broken_rule(
            "accuracies are fractions in [0, 1]", f"Not percent: write {_FLOOR_FORM}."
        )
    if confidence is not None and not (_is_number(confidence) and 0.5 <= confidence < 1):
        rule = "confidence is the probability with which the floor must hold, in [0.5, 1)"
        raise broken_rule(rule, f"Write {_SURE_FORM}, or leave it out.")
    sure = None if confidence is None else float(confidence)
    return FloorRule(cast(FloorKind, kind), float(value), sure)


def _parse_path(raw: Any) -> tuple[float, ...]:
    if isinstance(raw, bool) or raw in (None, ()):
        return ALPHAS if raw else ()
    alphas = tuple(raw) if isinstance(raw, list | tuple) else ()
    if not alphas or not all(_is_number(one) and 0 < one < 1 for one in alphas):
        rule = "the path's points lie between 0, the base, and 1, the trained weights"
        raise broken_rule(rule, f"Write {_PATH_FORM}.")
    if list(alphas) != sorted(set(alphas)) or len(alphas) > _MOST_ALPHAS:
        rule = f"alphas ascend, each is there once, and there are at most {_MOST_ALPHAS}"
        raise broken_rule(rule, f"Write {_PATH_FORM}.")
    return tuple(float(one) for one in alphas)


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


@dataclass(frozen=True)
class Confirm:
    """How the best candidates are trained anew.

    Attributes:
        top: so many candidates, the best by the stated rule.
        seeds: fresh seeds of each.
    """

    top: int
    seeds: int

    def plain(self) -> dict[str, Any]:
        """The form of the YAML."""
        return {"top": self.top, "seeds": self.seeds}


def _parse_confirm(raw: Any) -> Confirm | None:
    if raw is None or isinstance(raw, Confirm):
        return raw
    way_out = f"Write {_CONFIRM_FORM}, or null for none."
    if not isinstance(raw, dict) or raw.keys() != {"top", "seeds"}:
        raise broken_rule("a confirmation has a number of candidates and of fresh seeds", way_out)
    for name, value in raw.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise broken_rule(f"{name} must be a whole number", way_out)
        if not 1 <= value <= _MOST_CONFIRMED:
            raise broken_rule(f"{name} must be from 1 to {_MOST_CONFIRMED}", way_out)
    return Confirm(raw["top"], raw["seeds"])


def _plain(value: FloorRule | Confirm | None) -> dict[str, Any] | None:
    return None if value is None else value.plain()


def _parse_gpus(raw: Any) -> float | Literal["auto"]:
    if raw == AUTO:
        return "auto"
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise broken_rule(
            "must be `auto` or a number", "Write auto, 0, a share such as 0.25, or 1."
        )
    if raw < 0 or (raw > 1 and raw != int(raw)):
        raise broken_rule("GPUs are a share of one, or a whole number", "Write 0.25, 0.5, 1 or 2.")
    return float(raw)


def _size(raw: int | str | None) -> int | str | None:
    if raw is not None:
        parse_bytes(raw)
    return raw


def _parse_objectives(raw: Any) -> list[str] | None:
    if raw is None:
        return None
    form = "Write [val/fpr95, val/id_accuracy]; for one objective leave the key out."
    if not isinstance(raw, list) or not all(isinstance(name, str) for name in raw):
        raise broken_rule("objectives are a list of validation metrics", form)
    if len(raw) < 2 or len(set(raw)) < len(raw):
        raise broken_rule("objectives are two or more, each once", form)
    return list(raw)


class ModelSection(Section):
    """The network and what it starts from.

    Attributes:
        backbone: a name of ``study.models.names.BACKBONE_NAMES``.
        dropout: share of units dropped; where it is searched, the trial's value counts.
        init: ``random``, ``base`` (the one that the section ``base`` trains), ``imagenet``
            (the backbone's own library has the weights) or the path of a weights file; by default
            what the recipe needs.
        weights_key: which network of a file of weights that holds several: the keys and prefix
            that lead to it, such as ``model_ema`` or ``teacher.backbone``; null finds it.
        stem: of ResNet-18 and ResNet-50. small: 3x3 of stride 1 and no pooling, for small images;
            of ImageNet's weights it stays fresh. imagenet: the library's own, total stride 32.
        normalisation: channel means and deviations that images are brought to: those that the
            initialisation was trained with.
        image_size: side in pixels that images are enlarged to inside the network, such as the
            224 of ImageNet's; null takes them as ``data.image_size`` has them.
        pretrained_on: sources of images that the initialisation was trained on, such as
            ``imagenet``, or names of sets; where the study has them too, its numbers are marked.
    """

    backbone: str = "resnet20"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    init: str = "random"
    weights_key: str | None = Field(default=None, pattern=r"\S")
    stem: Stem = "small"
    normalisation: Normalisation = "imagenet"
    image_size: int | None = Field(default=None, ge=8, le=1024)
    pretrained_on: Annotated[
        list[Annotated[str, Field(pattern=r"\S")]],
        Told("is a list of names of sources", "Write [imagenet], or [imagenet, cifar10]."),
    ] = Field(default_factory=list)

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without ``weights_key`` where it is null: older studies have no such key."""
        plain: dict[str, Any] = handler(self)
        return {key: one for key, one in plain.items() if (key, one) != ("weights_key", None)}


class BaseSection(TrainParams):
    """How the base model is trained: the parameters of recipe ``classifier``, and these.

    Attributes:
        fine_tune: full: everything is trained. linear: a linear probe, that is, what ``init``
            says stays as it is and gets a trained head.
        feature_views: of linear, augmented views of each image; see the recipe.
        backbone: of the base; null takes the model's.
        seed: seed of the base, so that studies with other seeds share it.
        dropout: of the base; null takes the model's.
        init: what its training starts from: ``random``, ``imagenet``, or the path of a weights
            file, such as a self-supervised checkpoint.
    """

    fine_tune: Literal["full", "linear"] = "full"
    feature_views: int = Field(default=4, ge=1, le=1000)
    backbone: str | None = None
    init: str = "random"
    seed: int = Field(default=0, ge=0, lt=2**63)
    dropout: float | None = Field(default=None, ge=0, lt=1)

    def train(self) -> dict[str, Any]:
        """The parameters of its training alone; a probe's only where it is one."""
        without = {"backbone", "init", "seed", "dropout"}
        if self.fine_tune == "full":  # as the cache has known such a base before there were probes
            without |= {"fine_tune", "feature_views"}
        return self.model_dump(exclude=without)


class _TuneSection(Section):
    """How trials are drawn, stopped and run.

    Attributes:
        searcher: who proposes parameters; not of an ablation. A file of
            ``study/searchers/methods`` says what it models; it draws the rest at random.
        scheduler: who stops trials early: asha, hyperband (ASHA in brackets of several first
            rungs), median (below the median of the finished trials at that epoch) or none; in an
            ablation, and with several objectives, nobody unless it is said.
        objectives: metrics that the searcher follows, each by its own direction, in place of
            val/objective; the front is in study.db. The selection's rule stays. null: one.
        first: points that are tried before the searcher's, each some of what is searched, with
            values as `train` would have them; the searcher draws the rest.
        num_trials: trials in the study; an ablation has arms times seeds and
            those that re-tune its arms.
        seed: of the searcher, and of every trial's training: trials then differ by their
            parameters alone (common random numbers).
        time_budget_s: the study pauses after this many seconds; null: never.
        max_concurrent: trials at once; null: as many as fit.
        grace_epochs: no trial is stopped before it; by default 1, of ASHA half of the epochs.
        reduction_factor: ASHA and Hyperband keep one in this many at each rung.
        finish: of ASHA; once all trials were begun, the best of those that rungs have stopped go
            on to their end until so many have finished above the floor. 0: none; where nothing
            is said, one in eight trials.
        cpus_per_trial: null: the machine's cores over the trials at once.
        gpus_per_trial: ``auto``, or a number, a share of one GPU allowed.
        max_failures: failed trials in a row that stop the study.
        checkpoint_budget: bytes of the folder of checkpoints; above it losing trials lose their
            weights, worst first. Text with a unit, or a number; null: no limit.
    """

    searcher: str = "tpe"
    scheduler: Literal["asha", "hyperband", "median", "none"] = "asha"
    objectives: Annotated[list[str] | None, PlainValidator(_parse_objectives)] = None
    first: Annotated[
        list[dict[str, Any]],
        Told("is a list of points", "Write [{m_in: -23, m_out: -5}], or [{lr: 0.01}]."),
    ] = Field(default=[])
    num_trials: int = Field(default=32, ge=1, le=100_000)
    seed: int = Field(default=0, ge=0, lt=2**63)
    time_budget_s: float | None = Field(default=None, gt=0)
    max_concurrent: int | None = Field(default=None, ge=1)
    grace_epochs: int = Field(default=1, ge=1)
    reduction_factor: int = Field(default=3, ge=2)
    finish: int = Field(default=0, ge=0, le=100_000)
    cpus_per_trial: float | None = Field(default=None, gt=0)
    gpus_per_trial: Annotated[float | Literal["auto"], PlainValidator(_parse_gpus)] = "auto"
    max_failures: int = Field(default=5, ge=1)
    checkpoint_budget: Annotated[
        int | str | None,
        AfterValidator(_size),
        Told(
            "must be a size, such as 20 GB, or null for no limit", "Write 500 MB, 20 GB or 1 TiB."
        ),
    ] = "20 GB"

    @property
    def declared(self) -> Searcher:
        """What the searcher declares."""
        return searchers()[self.searcher]

    def rungs(self, most: int) -> list[int]:
        """Epochs up to ``most`` at which the trial scheduler compares trials; none without any."""
        if self.scheduler not in ("asha", "hyperband"):
            return []
        return rung_epochs(self.grace_epochs, self.reduction_factor, most)

    def searcher_remark(self) -> str:
        """What to tell of the searcher with this scheduler and so many trials; empty for nothing.

        Trials that Optuna's pruners stop are told as pruned; `searchers` models some no further.
        """
        one, first = self.declared, self.declared.random_first
        least = first if isinstance(first, int) else int(self.searcher_parameters()[first])
        told = f"searcher: {self.searcher} draws at random until {least} trials have {one.models}"
        if 0 < self.num_trials <= least:
            return f"{told}, and there are {self.num_trials} in all: it is random search"
        if one.models == "finished" and self.scheduler in ("hyperband", "median"):
            return f"{told} all their epochs, and scheduler: {self.scheduler} lets few do so"
        return ""

    def searcher_parameters(self) -> dict[str, Any]:
        """The searcher's own parameters."""
        return {name: getattr(self, name) for name in self.declared.parameters}


def _searcher_fields() -> dict[str, Any]:
    """The searchers that there are, and the parameters of them all."""
    fields: dict[str, Any] = {"searcher": (Literal[tuple(searchers())], "tpe")}
    for one in searchers().values():
        fields |= {name: parameter.field() for name, parameter in one.parameters.items()}
    return fields


if TYPE_CHECKING:
    TuneSection = _TuneSection
else:
    TuneSection = create_model(
        "TuneSection",
        __base__=_TuneSection,
        __module__=__name__,
        __doc__=_TuneSection.__doc__,
        **_searcher_fields(),
    )


class SelectSection(Section):
    """Which trial wins, and which of its epochs stands for it.

    Attributes:
        metric: a validation metric; searcher and selection go by it.
        floor: a constraint on validation ID accuracy; null only where ID accuracy is the metric.
            With ``confidence`` the choice must hold it with that probability, not only on these
            images.
        penalty: what a percentage point under the floor costs in the objective that the search
            follows, in units of the metric; null: all under the floor is worse than all above it,
            and the metric does not count there. Nothing under the floor is ever selected.
        path: score points between the base's weights and the trained ones too, each a candidate
            (`study.scoring.path`): true or false, or alphas. By default a search whose trials
            start from the study's base has it, an ablation has not.
        path_halvings: so often the gap of the path where it leaves the floor is halved, and a
            point scored there.
        checkpoint: the epoch of the best objective, or the last one.
        confirm: train the best candidates anew, such as {top: 3, seeds: 3}; the winner is then
            the best mean over the fresh seeds. Null: the search's own numbers decide.
    """

    metric: str = "val/fpr95"
    floor: Annotated[FloorRule | None, PlainValidator(_parse_floor), PlainSerializer(_plain)] = (
        None
    )
    penalty: float | None = Field(PENALTY, ge=0, le=100)
    path: Annotated[
        tuple[float, ...],
        PlainValidator(_parse_path),
        PlainSerializer(lambda alphas: list(alphas) or False),
    ] = ()
    path_halvings: int = Field(HALVINGS, ge=0, le=10)
    checkpoint: Literal["best", "last"] = "best"
    confirm: Annotated[Confirm | None, PlainValidator(_parse_confirm), PlainSerializer(_plain)] = (
        None
    )


SECTIONS: Mapping[str, type[Section]] = {
    "data": DataSection,
    "model": ModelSection,
    "base": BaseSection,
    "tune": TuneSection,
    "select": SelectSection,
}
"""Sections whose fields do not depend on the recipe; ``train`` has the recipe's."""
