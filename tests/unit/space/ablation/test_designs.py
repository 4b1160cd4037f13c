"""Designs make the arms that their names promise, and the fractions are what books say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from study.space.ablation.designs import (
    DESIGNS,
    Design,
    Factor,
    Level,
    fraction,
    level_name,
    make_arms,
    num_arms,
    reached_resolution,
)
from study.space.ablation.section import Ablation


def factor(name: str, *values: object) -> Factor:
    levels = tuple(Level(level_name(value), {name: value}) for value in values)
    return Factor(name, levels, named=False)


A, B, C = factor("a", 1), factor("b", True), factor("c", "x")
MANY = factor("m", 2, 3)


def names(design: Design, *factors: Factor) -> list[str]:
    return [arm.name for arm in make_arms(design, factors)]


def test_one_at_a_time_has_an_arm_for_each_level() -> None:
    assert names("one_at_a_time", MANY, A) == ["baseline", "m=2", "m=3", "a=1"]


@pytest.mark.parametrize("design", ["leave_one_out", "add_one"])
def test_leave_one_out_and_add_one_have_an_arm_for_each_factor(design: Design) -> None:
    assert names(design, A, B, C) == ["baseline", "a=1", "b=true", "c=x"]


def test_factorial_has_every_combination_the_last_factor_moving_fastest() -> None:
    assert names("factorial", MANY, A) == [
        "baseline", "a=1", "m=2", "m=2 + a=1", "m=3", "m=3 + a=1",
    ]  # fmt: skip


def test_path_keeps_what_was_changed_before() -> None:
    assert names("path", A, B, C) == [
        "baseline", "a=1", "a=1 + b=true", "a=1 + b=true + c=x",
    ]  # fmt: skip


def test_path_arm_sets_what_all_its_levels_set() -> None:
    assert dict(make_arms("path", [A, B])[-1].settings) == {"a": 1, "b": True}


def test_half_fraction_of_three_by_hand() -> None:
    # c = ab in signs, the first row the baseline: each factor is changed in two of four arms.
    arms = make_arms("fractional_factorial", [A, B, C])
    assert [sorted(arm.levels) for arm in arms] == [[], ["a", "c"], ["b", "c"], ["a", "b"]]


def test_plackett_burman_of_eleven_in_twelve_arms() -> None:
    signs = np.where(fraction(11), -1, 1)
    assert signs.shape == (12, 11)
    assert (signs[0] == 1).all()
    # Up to the order of rows and columns their design is the only one with this property.
    assert (signs.T @ signs == 12 * np.eye(11)).all()


@pytest.mark.parametrize("num_factors", [*range(3, 17), 20, 27, 31, 40, 63])
@pytest.mark.parametrize("resolution", [3, 4])
def test_fraction_is_balanced_orthogonal_and_has_its_resolution(
    num_factors: int, resolution: int
) -> None:
    rows = fraction(num_factors, resolution)  # type: ignore[arg-type]
    signs = np.where(rows, -1, 1)
    assert not any(rows[0])
    assert (signs.sum(axis=0) == 0).all()
    assert (signs.T @ signs == len(rows) * np.eye(num_factors)).all()
    reached = reached_resolution(num_factors, resolution)  # type: ignore[arg-type]
    assert reached >= resolution
    some = range(min(num_factors, 9))
    clear = all(
        (signs[:, i] * signs[:, j] * signs[:, k]).sum() == 0
        for i, j, k in itertools.combinations(some, 3)
    )
    if num_factors <= 9:
        assert clear == (reached == 4)


@pytest.mark.parametrize("design", DESIGNS)
def test_num_arms_counts_what_make_arms_makes(design: Design) -> None:
    factors = [A, B, C] if design != "factorial" else [MANY, A, B]
    arms = make_arms(design, factors)
    assert num_arms(design, factors) == len(arms) == len({arm.name for arm in arms})
    assert arms[0].name == "baseline"
    assert not arms[0].settings


def test_points_are_seed_major() -> None:
    ablation = Ablation("add_one", (7, 3), (A, B))
    assert [(p["arm"], p["seed"]) for p in ablation.points()] == [
        ("baseline", 7), ("a=1", 7), ("b=true", 7), ("baseline", 3), ("a=1", 3), ("b=true", 3),
    ]  # fmt: skip


def test_values_of_a_parameter_over_all_factors() -> None:
    both = Factor("both", (Level("on", {"a": 5, "b": False}), Level("off", {"a": 1})), named=True)
    ablation = Ablation("one_at_a_time", (0,), (A, both))
    assert (ablation.values("a"), ablation.values("z")) == ([1, 5], [])


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("mse", "mse"), (True, "true"), (None, "null"), (3, "3"), (0.1, "0.1"), (1e-05, "1e-05"),
        (2.0, "2"), (0.12345678, "0.12345678"),
        ({"below": "id_energy", "sd": 1.5}, "below id_energy sd 1.5"),
    ],
)  # fmt: skip
def test_level_name(value: object, name: str) -> None:
    assert level_name(value) == name
