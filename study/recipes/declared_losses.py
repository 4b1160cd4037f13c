"""What the files of ``study/recipes/outlier_losses`` declare, read without importing them.

A loss's file brings torch, and a YAML is checked without. So its ``DECLARED`` is a literal, which
is made into the parameters of the recipe ``outliers``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from study.declared import Parameter, unlike_parameters
from study.literals import Declaration, read_literals
from study.recipes import outlier_losses

SHIPPED = (
    "outlier_exposure",
    "energy_margins",
    "energy_logistic",
    "balanced_energy",
    "gradient_regularisation",
    "distributional",
)
"""Losses whose parameters every resolved spec has, in this order; other files come after."""


class LossDeclaration(Declaration):
    """What a loss's file declares; every key may be left out.

    Attributes:
        margins: whether the loss has margins: its class takes m_in and m_out, in nats.
        linear: whether it trains the last layer alone too (``fine_tune: linear``, where the
            batches are features); else a text that says why not, told after the loss's name.
        parameters: name -> default, bounds and meaning. Losses may share a parameter.
    """

    noun: ClassVar[str] = "loss"
    defines: ClassVar[Mapping[str, str]] = {"Loss": "class Loss(OutlierLoss)"}

    margins: bool = False
    linear: Literal[True] | Annotated[str, Field(min_length=1)] = Field(
        default=True, description="linear is True, or the reason why not"
    )
    parameters: dict[str, Parameter] = Field(default={})


def declared_losses() -> Mapping[str, LossDeclaration]:
    """Every loss of the room by name.

    Raises:
        BadInput: naming each file and what is wrong with its declaration.
    """
    return _read(tuple(outlier_losses.__path__))


@cache
def _read(folders: tuple[str, ...]) -> Mapping[str, LossDeclaration]:
    return read_literals(
        folders, "DECLARED", LossDeclaration, first=SHIPPED, together=unlike_parameters
    )
