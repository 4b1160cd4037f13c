"""The reconstruction losses' own parameters as parameters of a trial, free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import create_model

from study.declared import by_parameter
from study.errors import BadInput
from study.losses.names import RECONSTRUCTIONS, SHIPPED
from study.recipes.params import TrainParams
from study.section import Rule, effect_rule, taken_names, unfit_parameters

PARAMETERS = by_parameter(RECONSTRUCTIONS)
"""Name -> the parameter, and the reconstruction losses that have it."""

ADDED = frozenset(name for name, (_, losses) in PARAMETERS.items() if not {*losses} & {*SHIPPED})
"""Those of losses beyond the shipped ones; left out of a resolved spec by default."""

if TYPE_CHECKING:
    ReconstructionName = str
    ReconstructionSettings = TrainParams
else:
    ReconstructionName = Literal[tuple(RECONSTRUCTIONS)]
    fields: dict[str, Any] = {
        name: one.model_copy(update={"when": {"reconstruction": losses, **one.when}}).field()
        for name, (one, losses) in PARAMETERS.items()
    }
    ReconstructionSettings = create_model(
        "ReconstructionSettings", __base__=TrainParams, __module__=__name__, **fields
    )


def reconstruction_rules() -> Iterator[Rule]:
    """What the losses ask for, and where their parameters have an effect."""
    for name, declared in RECONSTRUCTIONS.items():
        if declared.perceptual:
            yield _with_network(name)
    for name, (parameter, losses) in PARAMETERS.items():
        called = [RECONSTRUCTIONS[loss].called or f"reconstruction: {loss}" for loss in losses]
        without = f"without {' or '.join(called)}"
        yield effect_rule(name, parameter.default, "reconstruction", losses, without)


def _with_network(name: str) -> Rule:
    return Rule(
        ("reconstruction", "perceptual_network"),
        lambda reconstruction, network: reconstruction != name or network is not None,
        f"the {name} loss needs a perceptual_network",
        "Write perceptual_network: base, or choose another reconstruction.",
    )


def refuse_taken(section: type[TrainParams]) -> None:
    """Refuse parameters and conditions of the losses that do not fit a section's own fields.

    Raises:
        BadInput: naming the files.
    """
    rule = "`train` has something of this name already"
    taken = taken_names(section, __name__)
    if faults := [*unfit_parameters(section, RECONSTRUCTIONS, taken, rule)]:
        raise BadInput(faults)
