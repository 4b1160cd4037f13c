"""What every section of a space is: strict, immutable fields, and rules over several of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


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


def broken_rule(rule: str, way_out: str) -> PydanticCustomError:
    """The error of a value that breaks a rule; rule and way out stand in its context too."""
    return PydanticCustomError("rule", "{rule}. {way_out}", {"rule": rule, "way_out": way_out})


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
                raise broken_rule(rule.text, rule.way_out)
        return self
