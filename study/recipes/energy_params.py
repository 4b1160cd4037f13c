"""Parameters of fine-tuning against outliers, the recipes ``energy`` and ``outliers``, torch-free.

Both are one recipe: ``energy`` has the loss ``energy_margins`` alone. The losses' names and
parameters are what the files of ``study/recipes/outlier_losses`` declare; each says there what
its parameters mean, their units, and where the defaults come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, create_model

from study.declared import Parameter, by_parameter, parameter, with_default
from study.errors import BadInput
from study.losses.margins import Margin, MeasuredMargin
from study.recipes.classifier_params import ClassifierParams
from study.recipes.declared_losses import SHIPPED, declared_losses
from study.recipes.detector_params import OF_DETECTORS, DetectorName, detector_rules, refuse_taken
from study.recipes.params import HeadNeed
from study.section import Rule, effect_rule, effect_rules, unfit_parameters

ENERGY_LOSS = "energy_margins"
OUTLIERS_SCORES = ("msp", "max_logit", "energy")
"""OOD scores of every trial of the recipe ``outliers``."""
Weight = Annotated[float, Field(gt=0)]


class EnergyParams(ClassifierParams):
    """Energy fine-tuning (recipe ``energy``); defaults of Liu et al. 2020 but for the margins."""

    name: ClassVar[str] = "energy"
    module: ClassVar[str] = "energy"
    needs_outliers: ClassVar[bool] = True
    base: ClassVar[Literal["none", "start", "optional"]] = "start"
    measures_base: ClassVar[bool] = True
    asked_of_data: ClassVar[frozenset[str]] = frozenset({"max_outliers"})

    epochs: int = with_default(ClassifierParams, "epochs", 10)
    lr: float = with_default(ClassifierParams, "lr", 1e-3)
    m_in: Margin = parameter(
        MeasuredMargin("below", "id_energy", 2.0),
        meaning="margin of ID images, nats or measured; the paper's was -23",
    )
    m_out: Margin = parameter(
        MeasuredMargin("above", "outlier_energy", 0.0),
        meaning="margin of outliers, nats or measured; the paper's was -5",
    )
    energy_weight: float = parameter(
        0.1, ge=0, meaning="weight of the energy terms; lambda in the paper"
    )
    temperature: float = parameter(
        1.0, gt=0, meaning="T of the energy, in loss and score alike; dimensionless"
    )
    outlier_batch_size: int = parameter(
        256, ge=1, meaning="outliers in a batch, beside the ID images"
    )
    outlier_order: Literal["shuffled", "window"] = parameter(
        "shuffled",
        meaning="a fresh shuffle each epoch, or a contiguous window from a random offset",
    )
    own_score: DetectorName = with_default(ClassifierParams, "own_score", "energy")
    outlier_weights: Annotated[dict[str, Weight], Field(min_length=1)] | None = parameter(
        None,
        meaning="source -> how often an outlier is drawn from it, against the others; every "
        "source of data.outliers has one",
        null="all their images alike",
    )
    max_outliers: int | None = parameter(
        None,
        ge=1,
        meaning="so many outliers at most, the same ones in every trial, and of a larger number "
        "the smaller are a part",
        null="all",
    )

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

    @property
    def loss_name(self) -> str:
        """The file of ``study/recipes/outlier_losses`` that has the loss."""
        return ENERGY_LOSS

    @property
    def uses_margins(self) -> bool:
        """Whether the loss has margins."""
        declared = declared_losses().get(self.loss_name)
        return declared is not None and declared.margins


refuse_taken(EnergyParams)


class _SharedParams(EnergyParams):
    """Fine-tuning against outliers by any of the losses, on one base and with one budget."""

    fine_tune: Literal["none", "full", "linear"] = parameter(  # type: ignore[assignment]
        "full",
        meaning="as of the classifier; none: nothing is trained, the model that trials start from "
        "is scored as it is, in one epoch",
    )
    loss: str = parameter(ENERGY_LOSS, meaning="a file of study/recipes/outlier_losses")
    own_score: DetectorName = parameter(
        "energy",
        meaning="the score that the study selects by: msp, max_logit, energy, or one of "
        "detectors; one for all losses, so that they compare",
    )

    name: ClassVar[str] = "outliers"
    unwritten: ClassVar[frozenset[str]] = EnergyParams.unwritten - {"own_score"}

    @property
    def loss_name(self) -> str:
        """As the YAML says."""
        return self.loss

    @property
    def scores(self) -> tuple[str, ...]:
        """Those of the logits, and the detectors'."""
        return (*OUTLIERS_SCORES, *self.detectors)

    @property
    def trains(self) -> bool:
        """Whether ``fine_tune`` says so."""
        return self.fine_tune != "none"

    @property
    def needs_head(self) -> HeadNeed | None:
        """What is not trained is scored as it is."""
        if self.trains:
            return None
        way_out = "Set model.init: base; base.fine_tune: linear trains nothing but the head."
        why = "with fine_tune: none a trained classifier is scored"
        return HeadNeed("fine_tune", why, way_out)


def _only(name: str, parameter: Parameter, losses: list[str]) -> Iterator[Rule]:
    """A parameter other than its default has an effect under the losses that declare it."""
    without = f"with another loss than {' or '.join(losses)}"
    yield effect_rule(name, parameter.default, "loss", losses, without)
    yield from effect_rules({name: parameter.field()[1]})


def _not_linear(name: str, why: str) -> Rule:
    """A loss that linear fine-tuning cannot have."""
    return Rule(
        ("fine_tune", "loss"),
        lambda fine_tune, loss: fine_tune != "linear" or loss != name,
        f"{name} {why}",
        "Set fine_tune: full, or choose another loss.",
    )


def make_outlier_params() -> type[EnergyParams]:
    """The recipe's parameters with those of every loss that there is.

    Raises:
        BadInput: where a loss's file declares what cannot be.
    """
    losses, parameters = declared_losses(), by_parameter(declared_losses())
    taken = {*dir(_SharedParams), *_SharedParams.model_fields} - {"energy_weight"}
    rule = "every loss has this already, as params.{name}"
    way_out = "Use it without declaring it, or choose another name."
    if faults := [*unfit_parameters(_SharedParams, losses, taken, rule, way_out)]:
        raise BadInput(faults)
    fields: dict[str, Any] = {name: one.field() for name, (one, _) in parameters.items()}
    fields["loss"] = (Literal[tuple(losses)], with_default(_SharedParams, "loss", ENERGY_LOSS))
    made: type[EnergyParams] = create_model(
        "OutlierParams", __base__=_SharedParams, __module__=__name__, **fields
    )
    # A file that is put beside the shipped ones, or taken away, leaves the recorded spec of a
    # study of another loss as it is: the study can be resumed.
    added = {name for name, (_, owners) in parameters.items() if not {*owners} & {*SHIPPED}}
    made.unwritten = _SharedParams.unwritten | added
    made.rules = (
        *(rule for rule in EnergyParams.rules if not OF_DETECTORS & {*rule.fields}),
        *detector_rules(OUTLIERS_SCORES),
        *(_not_linear(name, one.linear) for name, one in losses.items() if one.linear is not True),
        *(only for name, (one, owners) in parameters.items() for only in _only(name, one, owners)),
    )
    return made


OutlierParams = make_outlier_params()
