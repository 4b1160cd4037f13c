"""study.space.search.first and the checks of `tune.first`: told with place, rule and way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from study.errors import BadInput
from study.losses.margins import EnergyStats
from study.space.loading import load_resolved, load_space
from study.space.points import first_points
from study.space.study_spec import StudySpec

STATS = EnergyStats(-16.0, 4.0, -8.0, 2.0)
SEARCH = (
    "search={m_in: {below: id_energy, sd: {uniform: [0.5, 4]}}, m_out: {above: id_energy, sd: "
    "{uniform: [0, 3]}}, lr: {loguniform: [1.0e-4, 1.0e-1]}, batch_size: {choice: [64, 128]}}"
)


def _spec(first: list[Any], *more: str) -> StudySpec:
    told = yaml.safe_dump(first, default_flow_style=True, width=1000).strip()
    return load_space("energy", [SEARCH, "tune.first=" + told, *more])


def _points(first: list[Any], *more: str) -> tuple[list[dict[str, Any]], list[str]]:
    return first_points(_spec(first, *more), lambda temperature: STATS)


def test_values_are_those_of_the_search_under_its_dotted_names() -> None:
    points, told = _points([{"lr": 0.01, "batch_size": 64}, {"lr": 0.1}])
    assert points == [{"train.lr": 0.01, "train.batch_size": 64}, {"train.lr": 0.1}]
    assert told == []


def test_margin_in_nats_is_brought_to_the_standard_deviations_of_the_base() -> None:
    points, told = _points([{"m_in": -23, "m_out": -5}])
    assert points == [{"train.m_in.sd": pytest.approx(1.75), "train.m_out.sd": 2.75}]
    assert told == []


def test_margin_as_it_is_searched_is_taken_as_it_is() -> None:
    points, _ = _points([{"m_in": {"below": "id_energy", "sd": 2}}])
    assert points == [{"train.m_in.sd": 2.0}]


def test_margin_on_another_reference_is_brought_to_that_of_the_search() -> None:
    points, _ = _points([{"m_out": {"above": "outlier_energy", "sd": 0}}])
    assert points == [{"train.m_out.sd": 2.0}]


def test_margin_that_is_searched_in_nats_takes_a_measured_one() -> None:
    absolute = "search.m_in={absolute: {uniform: [-30, -20]}}"
    points, _ = _points([{"m_in": {"below": "id_energy", "sd": 2}}], absolute)
    assert points == [{"train.m_in": -24.0}]


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("{uniform: [0.5, 4]}", 4.0),
        ("{uniform: [0.5, 3], step: 0.5}", 3.0),
        ("{choice: [1, 2]}", 2),
    ],
)
def test_margin_outside_its_search_on_this_base_is_the_nearest_and_is_told(
    domain: str, expected: float
) -> None:
    change = f"search.m_in={{below: id_energy, sd: {domain}}}"
    points, told = _points([{"lr": 0.1}, {"m_in": -46}], change)
    assert points[1] == {"train.m_in.sd": expected}
    (text,) = told
    assert text.startswith("first point 2: m_in: 7.5 sd below id_energy lies outside its search")


def test_margin_between_steps_is_brought_to_the_nearest() -> None:
    change = "search.m_in={below: id_energy, sd: {uniform: [0.5, 3], step: 0.5}}"
    points, told = _points([{"m_in": -23.5}], change)
    assert (points, told) == ([{"train.m_in.sd": 2.0}], [])


def test_margin_on_a_base_whose_energies_do_not_spread_is_the_nearest() -> None:
    flat = EnergyStats(-16.0, 0.0, -8.0, 2.0)
    points, _ = first_points(_spec([{"m_in": -23}]), lambda temperature: flat)
    assert points == [{"train.m_in.sd": 0.5}]


def test_spec_comes_back_with_its_first_points(tmp_path: Path) -> None:
    spec = _spec([{"m_in": -23, "m_out": {"above": "outlier_energy", "sd": 0}}])
    (tmp_path / "spec.yaml").write_text(spec.dump())
    assert load_resolved(tmp_path / "spec.yaml") == spec


@pytest.mark.parametrize(
    ("first", "key", "rule", "way_out"),
    [
        ([{}], "tune.first[0]", "names parameters", "Write {lr: 0.01}"),
        ([{"lr": 0.1}, {"lrr": 1}], "tune.first[1].lrr", "is not searched", "lr"),
        ([{"weight_decay": 0.1}], "tune.first[0].weight_decay", "is not searched", ""),
        ([{"lr": 1.0}], "tune.first[0].lr", "outside its search, loguniform", "widen"),
        ([{"batch_size": 63}], "tune.first[0].batch_size", "outside its search, choice", "widen"),
        ([{"m_in": "x"}], "tune.first[0].m_in", "must be a number", "A margin is"),
        ([{"m_in": {"below": "id_energy", "sd": 9}}], "tune.first[0].m_in", "outside", "widen"),
    ],
)
def test_point_that_cannot_be_tried_is_refused(
    first: list[Any], key: str, rule: str, way_out: str
) -> None:
    with pytest.raises(BadInput) as caught:
        _spec(first)
    (fault,) = caught.value.faults
    assert fault.key == key
    assert rule in fault.rule
    assert way_out in fault.way_out


def test_value_that_hangs_on_another_needs_that_one_in_the_point() -> None:
    search = (
        "search={reconstruction: {choice: [mse, huber]}, huber_delta: {uniform: [0.1, 1], "
        "when: {reconstruction: huber}}}"
    )
    named = "{huber_delta: 0.5}", "{huber_delta: 0.5, reconstruction: huber}"
    with pytest.raises(BadInput, match="exists only where reconstruction: huber"):
        load_space("nordf", [search, f"tune.first=[{named[0]}]"])
    assert load_space("nordf", [search, f"tune.first=[{named[1]}]"]).tune.first


def test_margin_in_other_terms_needs_the_temperature_that_is_searched() -> None:
    searched = "search.temperature={uniform: [0.5, 2]}"
    with pytest.raises(BadInput, match="Name temperature in the point, too"):
        _spec([{"m_in": -23}], searched)
    assert _spec([{"m_in": -23, "temperature": 1.0}], searched).tune.first


def test_margin_in_other_terms_needs_a_base() -> None:
    absolute = [
        "model.init=random", "select.floor={id_accuracy: {at_least: 0}}",
        "search.m_in={absolute: {uniform: [-30, -20]}}",
        "search.m_out={absolute: {uniform: [-8, -4]}}",
    ]  # fmt: skip
    with pytest.raises(BadInput, match="there is no base to measure it"):
        _spec([{"m_in": {"below": "id_energy", "sd": 2}}], *absolute)


def test_grid_takes_no_first_points() -> None:
    grid = ["tune.searcher=grid", "tune.num_trials=2", "search={batch_size: {choice: [64, 128]}}"]
    with pytest.raises(BadInput, match="trials of grid are its points"):
        _spec([{"batch_size": 64}], *grid)


def test_ablation_takes_no_first_points() -> None:
    with pytest.raises(BadInput, match="an ablation runs every arm"):
        load_space("energy_ablation", ["tune.first=[{lr: 0.01}]"])


def test_smoke_goes_without_them() -> None:
    spec = load_space("energy", [SEARCH], smoke=True)
    assert spec.tune.first == []


@pytest.mark.parametrize(
    "override", ["search.m_in=null train.m_in=-23", "search.lr.loguniform=[0.001, 0.002]"]
)
def test_option_that_changes_the_search_leaves_the_file_s_points_out(override: str) -> None:
    assert load_space("energy").tune.first
    assert load_space("energy", override.split(" ", 1) if "null" in override else [override])


def test_option_that_changes_the_searcher_leaves_the_file_s_points_out() -> None:
    assert load_space("energy", ["tune.searcher=random"]).tune.first == []


def test_option_that_changes_the_scheduler_leaves_the_file_s_finish_out() -> None:
    assert load_space("energy").tune.finish
    assert load_space("energy", ["tune.scheduler=none"]).tune.finish == 0
    both = ["tune.scheduler=asha", "tune.finish=3"]
    assert load_space("energy", both).tune.finish == 3
