from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from study.errors import BadInput
from study.space.loading import load_resolved, load_space
from study.space.points import absent, flat, grid, point_with, substitute
from study.space.search.conditions import (
    When,
    ancestors,
    existing,
    in_order,
    num_points,
    points,
    representatives,
)
from study.space.study_spec import StudySpec

SPACE = """
recipe: nordf
search:
  huber_delta: {loguniform: [0.01, 1], when: {reconstruction: huber}}
  reconstruction: {choice: [l1, huber, l1_ssim]}
  ssim_weight: {choice: [0.2, 0.6], when: {reconstruction: l1_ssim}}
  optimizer: {choice: [adam, adamw], when: {reconstruction: [huber, l1_ssim]}}
  momentum: {uniform: [0.5, 0.9], step: 0.2, when: {optimizer: adamw}}
select: {floor: {id_accuracy: {at_least: 0}}}
"""
CONDITIONS = {
    "b": When((("a", (1, 2)),)),
    "c": When((("b", ("x",)), ("a", (2,)))),
}
VALUES: dict[str, list[Any]] = {"c": [0.5], "a": [1, 2, 3], "b": ["x", "y"]}


def space(tmp_path: Path, text: str = SPACE, *overrides: str) -> StudySpec:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return load_space(str(file), overrides)


def test_in_order_parents_come_first_and_the_rest_stays() -> None:
    assert in_order(["c", "d", "b", "a"], CONDITIONS) == ["d", "a", "b", "c"]


def test_ancestors_go_all_the_way_up() -> None:
    assert ancestors(["c"], CONDITIONS) == {"a", "b"}
    assert ancestors(["a"], CONDITIONS) == set()


def test_existing_drops_a_child_whose_parent_is_dropped() -> None:
    assert existing({"c": 0.5, "a": 3, "b": "x"}, CONDITIONS) == {"a": 3}
    assert existing({"c": 0.5, "a": 1, "b": "x"}, CONDITIONS) == {"a": 1, "b": "x"}


def test_points_are_every_combination_once_in_the_order_of_names() -> None:
    assert list(points(VALUES, CONDITIONS)) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"c": 0.5, "a": 2, "b": "x"},
        {"a": 2, "b": "y"},
        {"a": 3},
    ]
    assert num_points(VALUES, CONDITIONS, 1000) == 5


def test_num_points_counts_long_ranges_without_listing_them() -> None:
    many: dict[str, Any] = {"a": [1, 2], "b": range(10**12)}
    assert num_points(many, {"b": When((("a", (2,)),))}, 1000) == 10**12 + 1


def test_representatives_are_one_of_each_that_conditions_tell_apart() -> None:
    conditions = {"c": When((("a", (1, 2)),)), "d": When((("a", (2,)), ("b", ("x",))))}
    found = representatives({"a": [1, 2, 3, 4], "b": ["x", "y"], "c": [5, 6]}, conditions)
    assert found == {"a": [1, 2, 3], "b": ["x", "y"], "c": [5]}


def test_space_condition_on_long_choices_is_checked_at_once(tmp_path: Path) -> None:
    parents = ("lr", "weight_decay", "energy_weight", "temperature")
    many = ", ".join(str(number / 1000) for number in range(1, 200))
    when = ", ".join(f"{name}: 0.001" for name in parents)
    text = "".join(f"  {name}: {{choice: [{many}]}}\n" for name in parents)
    text += f"  warmup_epochs: {{int: [1, 2], when: {{{when}}}}}\n"
    file = tmp_path / "long.yaml"
    file.write_text(f"recipe: energy\ntrain: {{epochs: 2}}\nsearch:\n{text}")
    with pytest.raises(BadInput, match="warmup_epochs < epochs"):
        load_space(str(file))


def test_when_true_is_not_1() -> None:
    assert not When((("a", (1,)),)).holds({"a": True})


def test_space_with_conditions_is_read_back_equal(tmp_path: Path) -> None:
    spec = space(tmp_path)
    file = tmp_path / "spec.yaml"
    file.write_text(spec.dump())
    assert load_resolved(file) == spec
    assert spec.resolved()["search"]["optimizer"] == {
        "choice": ["adam", "adamw"],
        "when": {"reconstruction": ["huber", "l1_ssim"]},
    }


def test_substitute_what_does_not_exist_has_its_default(tmp_path: Path) -> None:
    spec = space(tmp_path)
    train, _ = substitute(spec, {"train.reconstruction": "l1"})
    assert (train["huber_delta"], train["optimizer"], train["momentum"]) == (0.1, "adam", 0.9)
    assert absent(spec, {"train.reconstruction": "l1"}) == [
        "train.huber_delta", "train.ssim_weight", "train.optimizer", "train.momentum",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "point",
    [
        {"train.reconstruction": "l1", "train.huber_delta": 0.5},
        {"train.reconstruction": "huber", "train.optimizer": "adam"},
        {"train.reconstruction": "l1", "train.optimizer": "adamw", "train.momentum": 0.5},
    ],
)
def test_substitute_point_with_a_wrong_set_of_names_refused(
    tmp_path: Path, point: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="a point has the names"):
        substitute(space(tmp_path), point)


def test_point_with_chooses_what_the_value_hangs_on(tmp_path: Path) -> None:
    spec = space(tmp_path)
    assert point_with(spec) == {"train.reconstruction": "l1"}
    assert point_with(spec, {"train.momentum": 0.7}) == {
        "train.huber_delta": 0.01,
        "train.reconstruction": "huber",
        "train.optimizer": "adamw",
        "train.momentum": 0.7,
    }


def test_values_of_conditional_parameter_include_its_default(tmp_path: Path) -> None:
    assert space(tmp_path).values_of("ssim_weight") == [0.2, 0.6, 0.84]


def test_grid_has_each_existing_combination_once(tmp_path: Path) -> None:
    fixed = "tune: {searcher: grid, num_trials: 17}\n"
    text = SPACE.replace("loguniform: [0.01, 1]", "choice: [0.05, 0.5]") + fixed
    found = grid(space(tmp_path, text))
    assert len(found) == 1 + 2 * (1 + 3) + 2 * (1 + 3)
    assert len({str(point) for point in found}) == len(found)
    assert {"train.reconstruction": "l1"} in found


def test_override_changes_a_condition(tmp_path: Path) -> None:
    spec = space(tmp_path, SPACE, "search.optimizer.when.reconstruction=l1")
    when = spec.search["optimizer"].when
    assert when is not None
    assert when.plain() == {"reconstruction": "l1"}


def test_smoke_keeps_conditions_and_drops_what_hung_on_shrunk_epochs(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(
        SPACE.replace("select:", "  epochs: {choice: [4, 8]}\nselect:").replace(
            "search:\n", "search:\n  knn_neighbours: {int: [2, 9], when: {epochs: 8}}\n"
        )
    )
    spec = load_space(str(file), smoke=True)
    assert "knn_neighbours" not in spec.search
    assert spec.train["knn_neighbours"] == 10
    assert spec.search["huber_delta"].when is not None
    assert flat(spec)["train.epochs"].ends() == (1, 2)
