"""Parameters of the recipe ``outliers``, and what follows from them, free of torch.

The losses' names and parameters are what the files of ``study/recipes/outlier_losses`` declare;
each says there what its parameters mean, their units, and where the defaults come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, create_model

from study.declared import Parameter
from study.errors import BadInput
from study.recipes.classifier_params import EnergyParams
from study.recipes.declared_losses import SHIPPED, declared_losses, declaring
from study.recipes.detector_params import OF_DETECTORS, DetectorName, detector_rules
from study.section import Rule, effect_rule

DEFAULT_LOSS = "energy_margins"
SCORES = ("msp", "max_logit", "energy")
"""OOD scores of every trial."""


class _SharedParams(EnergyParams):
    """Fine-tuning against outliers by any of the losses, on one base and with one budget.

    Attributes:
        fine_tune: as of the classifier; none: nothing is trained, the model that trials start
            from is scored as it is, in one epoch.
        loss: a file of ``study/recipes/outlier_losses``.
        own_score: the score that the study selects by, msp, max_logit, energy or one of
            ``detectors``; one for all losses, so that they compare.
    """

    fine_tune: Literal["none", "full", "linear"] = "full"  # type: ignore[assignment]
    loss: str = DEFAULT_LOSS
    own_score: DetectorName = "energy"

    unwritten: ClassVar[frozenset[str]] = EnergyParams.unwritten - {"own_score"}


def _only(name: str, parameter: Parameter) -> Rule:
    """A parameter other than its default has an effect under the losses that declare it."""
    losses = declaring(name)
    without = f"with another loss than {' or '.join(losses)}"
    return effect_rule(name, parameter.default, "loss", losses, without)


def _not_linear(name: str, why: str) -> Rule:
    """A loss that linear fine-tuning cannot have."""
    return Rule(
        ("fine_tune", "loss"),
        lambda fine_tune, loss: fine_tune != "linear" or loss != name,
        f"{name} {why}",
        "Set fine_tune: full, or choose another loss.",
    )


def _parameters() -> dict[str, Parameter]:
    """Every declared parameter, in the losses' order, none in the way of the recipe's own.

    Raises:
        BadInput: naming the file whose parameter has a name that is taken.
    """
    taken = {*dir(_SharedParams), *_SharedParams.model_fields} - {"energy_weight"}
    found: dict[str, Parameter] = {}
    faults = []
    for declared in declared_losses().values():
        found |= {name: one for name, one in declared.parameters.items() if name not in found}
        for name in sorted(taken & declared.parameters.keys()):
            rule = f"every loss has this already, as params.{name}"
            way_out = "Use it without declaring it, or choose another name."
            faults.append(declared.fault(("parameters", name), rule, way_out))
    if faults:
        raise BadInput(faults)
    return found


def make_outlier_params() -> type[EnergyParams]:
    """The recipe's parameters with those of every loss that there is.

    Raises:
        BadInput: where a loss's file declares what cannot be.
    """
    losses, parameters = declared_losses(), _parameters()
    fields: dict[str, Any] = {name: one.field() for name, one in parameters.items()}
    fields["loss"] = (Literal[tuple(losses)], Field(default=DEFAULT_LOSS))
    made: type[EnergyParams] = create_model(
        "OutlierParams", __base__=_SharedParams, __module__=__name__, **fields
    )
    # A file that is put beside the shipped ones, or taken away, leaves the recorded spec of a
    # study of another loss as it is: the study can be resumed.
    added = {name for name in parameters if not {*declaring(name)} & {*SHIPPED}}
    made.unwritten = _SharedParams.unwritten | added
    made.rules = (
        *(rule for rule in EnergyParams.rules if not OF_DETECTORS & {*rule.fields}),
        *detector_rules(SCORES),
        *(_not_linear(name, one.linear) for name, one in losses.items() if one.linear is not True),
        *(_only(name, parameter) for name, parameter in parameters.items()),
    )
    return made


OutlierParams = make_outlier_params()


def outlier_margins(train: Mapping[str, Any]) -> bool:
    """Whether the loss has margins."""
    declared = declared_losses().get(train.get("loss", DEFAULT_LOSS))
    return declared is not None and declared.margins


def outlier_fine_tunes(train: Mapping[str, Any]) -> bool:
    """Whether a trial trains."""
    return train.get("fine_tune") != "none"


def outlier_own_score(train: Mapping[str, Any]) -> str:
    """The score that the study selects by."""
    return str(train["own_score"])


def outlier_scores(params: Any) -> tuple[str, ...]:
    """Every OOD score of a trial."""
    return (*SCORES, *params.detectors)
