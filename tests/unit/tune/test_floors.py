"""study.tune.floors: the floor on a base, and whether the validation images can measure it."""

from dataclasses import replace

import pytest

from study.data.roles import ValidationID
from study.scoring.floor import Floor
from study.space.loading import load_space
from study.tune.floors import too_fine
from tests.toys import toy_data, toy_images


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
