from __future__ import annotations

from typing import ClassVar, Literal

from study.declared import parameter, with_default
from study.section import Rule, Section, effect_rule, effect_rules


class Params(Section):
    loss: Literal["l1", "huber"] = parameter("l1", meaning="the loss")
    delta: float = parameter(0.1, gt=0, meaning="Huber's", when={"loss": ["huber"]})
    most: int | None = parameter(
        None, meaning="so many", null="all", when={"nested": [True, None]}
    )
    nested: bool | None = parameter(False, meaning="whether", null="by itself")

    rules: ClassVar[tuple[Rule, ...]] = ()


class Schedules(Section):
    shape: Literal["flat", "cosine", "step"] = parameter("flat", meaning="the shape")
    end: float = parameter(0.0, meaning="where it ends", when={"shape": ["cosine", "step"]})
    drops: int = parameter(2, meaning="how often", when={"shape": ["step"]})

    rules: ClassVar[tuple[Rule, ...]] = (
        effect_rule("drops", 2, "shape", ["step"], "on a smooth way"),
    )


class Longer(Schedules):
    shape: Literal["flat", "cosine", "step"] = with_default(Schedules, "shape", "step")
    most: float = with_default(Schedules, "end", 1.0)


def test_what_fields_say_of_when_joins_the_rules_that_do_not_say_it() -> None:
    drops, end = Schedules.rules
    assert drops.text == "drops has no effect on a smooth way"
    assert end.text == "end has no effect with shape: flat"
    assert end.way_out == "Take end out, or choose another shape."
    assert Longer.rules[:2] == Schedules.rules
    assert [rule.fields for rule in Longer.rules[2:]] == [("most", "shape")]


def test_field_with_another_default_is_declared_alike() -> None:
    one, other = Schedules.model_fields["end"], Longer.model_fields["most"]
    assert (one.default, other.default) == (0.0, 1.0)
    assert (one.description, one.metadata) == (other.description, other.metadata)
    assert Longer().shape == "step"


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
