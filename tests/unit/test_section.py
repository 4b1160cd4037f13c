from __future__ import annotations

from typing import ClassVar, Literal

from study.declared import parameter
from study.section import Rule, Section, effect_rule, effect_rules


class Params(Section):
    loss: Literal["l1", "huber"] = parameter("l1", meaning="the loss")
    delta: float = parameter(0.1, gt=0, meaning="Huber's", when={"loss": ["huber"]})
    most: int | None = parameter(
        None, meaning="so many", null="all", when={"nested": [True, None]}
    )
    nested: bool | None = parameter(False, meaning="whether", null="by itself")

    rules: ClassVar[tuple[Rule, ...]] = ()


def test_effect_rules_are_those_of_the_fields_that_say_when() -> None:
    delta, most = effect_rules(Params.model_fields)
    assert (delta.fields, most.fields) == (("delta", "loss"), ("most", "nested"))
    assert delta.has_effect
    assert delta.text == "delta has no effect without loss: huber"
    assert delta.way_out == "Take delta out, or choose loss: huber."
    assert delta.holds(0.1, "l1")
    assert delta.holds(0.2, "huber")
    assert not delta.holds(0.2, "l1")
    assert most.text == "most has no effect without nested: true or null"
    assert most.holds(3, None)
    assert not most.holds(3, False)


def test_effect_rule_goes_on_as_told() -> None:
    rule = effect_rule("delta", 0.1, "loss", ["huber"], "without Huber's loss")
    assert rule.text == "delta has no effect without Huber's loss"
