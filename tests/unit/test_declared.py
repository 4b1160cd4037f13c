"""One way to declare a parameter: what it becomes, and what is told of a wrong declaration."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ValidationError, create_model

from study.declared import Parameter, parameter, when_of


def declared(**keys: Any) -> Parameter:
    return Parameter.model_validate(keys)


def model_of(**parameters: Parameter) -> type[BaseModel]:
    fields: dict[str, Any] = {name: one.field() for name, one in parameters.items()}
    return create_model("Made", **fields)


def test_field_has_type_default_bounds_and_meaning() -> None:
    made = model_of(
        rate=declared(default=0.5, gt=0, le=1, meaning="share"),
        top=declared(default=None, type="int", ge=1, null="all"),
        of=declared(default="sum", choices=["sum", "mean"]),
    )
    assert made().model_dump() == {"rate": 0.5, "top": None, "of": "sum"}
    assert made.model_fields["rate"].description == "share"
    for name, value in {"rate": 0, "top": 0, "of": "max"}.items():
        with pytest.raises(ValidationError, match=name):
            made(**{name: value})


def test_field_unset_is_null_whatever_its_default() -> None:
    kind, field = declared(default=50, ge=1).field(unset=True)
    made = create_model("Made", k=(kind, field))
    assert made().model_dump() == {"k": None}
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        made(k=0)


def test_parameter_in_code_is_a_field_with_its_meaning() -> None:
    class Params(BaseModel):
        delta: float = parameter(0.1, gt=0, meaning="where it turns", when={"loss": ["huber"]})
        loss: Literal["l1", "huber"] = parameter("l1", meaning="the loss")

    assert Params().model_dump() == {"delta": 0.1, "loss": "l1"}
    assert Params.model_fields["delta"].description == "where it turns"
    assert when_of(Params.model_fields["delta"]) == {"loss": ["huber"]}
    assert not when_of(Params.model_fields["loss"])
    with pytest.raises(ValidationError, match="greater than 0"):
        Params(delta=0.0)


@pytest.mark.parametrize(
    ("keys", "good", "bad", "rule"),
    [
        ({"default": 3, "ge": 1}, 1, 0, "must be an integer at least 1"),
        ({"default": 3, "ge": 1}, 9, 2.5, "must be an integer at least 1"),
        ({"default": 3}, 0, True, "must be an integer"),
        ({"default": 0.5, "ge": 0, "lt": 1}, 0, 1.0, "must be a number at least 0 and below 1"),
        ({"default": 0.5, "gt": 0, "le": 1}, 1, 0.0, "must be a number above 0 and at most 1"),
        ({"default": 0.5}, 2, float("nan"), "must be a number"),
        ({"default": 0.5}, 2, "0.5", "must be a number"),
        ({"default": "s", "choices": ["s", "p"]}, "p", "b", "must be one of ['s', 'p']"),
        ({"default": True}, False, 1, "must be true or false"),
        (
            {"default": None, "type": "int", "null": "all"},
            None,
            1.5,
            "must be an integer (null: all)",
        ),
        ({"default": 1}, 1, None, "must be an integer"),
    ],
)
def test_value_fits_or_breaks_the_rule(
    keys: dict[str, Any], good: Any, bad: Any, rule: str
) -> None:
    one = declared(**keys)
    assert one.fits(good)
    assert not one.fits(bad)
    assert one.rule == rule


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"default": 0, "gt": 0}, "its own default breaks it: Input should be greater than 0"),
        ({"default": 2, "ge": 3, "le": 1}, "its own default breaks it"),
        ({"default": "a"}, "a text has choices"),
        ({"default": 1, "choices": ["a"]}, "a text has choices"),
        ({"default": "a", "choices": ["b"]}, "its own default breaks it"),
        ({"default": True, "ge": 0}, "only numbers have bounds"),
        ({"default": [1]}, "a default is true, false, a number or a text"),
        ({"default": None}, "a default of null needs `type`"),
        ({"default": 1.5, "type": "int"}, "its own default breaks it"),
        ({"default": float("inf")}, "its own default breaks it"),
        ({"default": 2, "ge": 0.5}, "bounds of a whole number are whole"),
        ({"default": 2, "least": 1}, "Extra inputs"),
        ({"default": 2, "when": {"loss": []}}, "at least 1 item"),
        ({"ge": 2}, "Field required"),
    ],
)
def test_wrong_declaration_is_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        declared(**keys)


def test_same_looks_at_types_and_bounds_and_not_at_meanings() -> None:
    one = declared(default=1, ge=0, meaning="a")
    assert one.same(declared(default=1, ge=0, meaning="b"))
    assert not one.same(declared(default=1.0, ge=0))
    assert not one.same(declared(default=1, ge=1))
