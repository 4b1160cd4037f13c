"""study.tune.floors: the floor on a base, and whether the validation images can measure it."""

from dataclasses import replace

import pytest

from study.data.roles import ValidationID
from study.scoring.floor import Floor
from study.space.loading import load_space
from study.tune.floors import asked_by, told_of_asked, too_fine
from tests.toys import toy_data, toy_images

CONFIDENT = "select.floor={id_accuracy: {below_base: 0.01, confidence: 0.9}}"


def told(below: float, num: int, confidence: float | None = None) -> str:
    sure = "" if confidence is None else f", confidence: {confidence}"
    spec = load_space("energy", [f"select.floor={{id_accuracy: {{below_base: {below}{sure}}}}}"])
    data = replace(toy_data(), val_id=ValidationID(toy_images("val_id", num, classes=3)))
    return too_fine(spec, data, Floor(0.9 - below))


def test_floor_less_than_one_image_is_told() -> None:
    assert told(0.01, 60).startswith(
        "the floor, 0.01 below the base, is less than one of the 60 validation ID images is "
        "worth, 0.0167. Take"
    )


def test_floor_less_than_a_standard_error_is_told() -> None:
    assert "400 validation images can tell (standard error 0.0156): luck decides" in told(
        0.01, 400
    )


def test_floor_that_is_asked_to_hold_leaves_nothing_to_luck() -> None:
    assert told(0.01, 400, confidence=0.8) == ""
    one_image = told(0.01, 60, confidence=0.8)
    assert one_image.endswith("Take more images (data.val_fraction) or a wider floor.")


@pytest.mark.parametrize(("below", "num"), [(0.05, 400), (0.0, 60)])
def test_floor_that_can_be_measured_or_asks_for_no_loss_is_not(below: float, num: int) -> None:
    assert told(below, num) == ""


def test_floor_below_nothing_of_a_weak_base_is_not_too_fine() -> None:
    assert told(0.95, 400) == ""


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (["tune.num_trials=12"], 0.9),
        (["tune.num_trials=48"], 0.95),
        (["select.floor.id_accuracy.confidence=null"], None),
    ],
)
def test_state_is_asked_for_more_where_the_choice_is_among_many(
    given: list[str], asked: float | None
) -> None:
    spec = load_space("energy", [CONFIDENT, *given])
    found = asked_by(spec)
    assert found == (None if asked is None else pytest.approx(asked))


def test_arms_count_and_not_their_seeds() -> None:
    seeds = f"ablate.seeds={list(range(30))}"
    spec = load_space("energy_ablation", [CONFIDENT, seeds, "ablate.factors={lr: [0.01, 0.1]}"])
    assert asked_by(spec) == pytest.approx(0.9)


def test_confidence_of_the_choice_is_told_beside_that_of_each_state() -> None:
    spec = load_space("energy", [CONFIDENT, "tune.num_trials=48"])
    (note,) = told_of_asked(spec, 0.95, 0.95)
    assert "probability of 0.95, so that the choice among 48 holds it with 0.9" in note


def test_study_that_was_extended_is_told_what_a_new_one_would_ask() -> None:
    spec = load_space("energy", [CONFIDENT, "tune.num_trials=48"])
    (note,) = told_of_asked(spec, 0.9, asked_by(spec))
    assert "0.9, as when the study began; of as many trials as now it would be 0.95" in note


def test_few_candidates_are_no_news() -> None:
    spec = load_space("energy", [CONFIDENT, "tune.num_trials=12"])
    assert list(told_of_asked(spec, 0.9, asked_by(spec))) == []
