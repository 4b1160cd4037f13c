"""``ablate.retune`` from YAML to points and back, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from study.errors import BadInput
from study.seeding import numpy_generator
from study.space.ablation.retune import Retune
from study.space.search.domains import Choice
from study.space.search.search import Searched
from study.space.study_spec import StudySpec
from tests.unit.space.ablation.test_section import again, load

SPACE = """
recipe: energy
train: {epochs: 2, epoch_images: 128}
ablate:
  design: DESIGN
  seeds: [0, 1, 2]
  factors:
    energy_weight: [0.3]
    plain: {sgd: {nesterov: false}}
  retune:
    num_trials: 4
    seed: 1000
    search: {lr: {loguniform: [1.0e-3, 1.0e-2]}, m_in: {below: id_energy, sd: {uniform: [1, 4]}}}
"""
LR = "{lr: {uniform: [0.1, 0.2]}}"


def retuned(tmp_path: Path, *overrides: str, design: str = "one_at_a_time") -> StudySpec:
    return load(tmp_path, SPACE.replace("DESIGN", design), *overrides)


def of(spec: StudySpec) -> Retune:
    assert spec.ablate is not None
    assert spec.ablate.retune is not None
    return spec.ablate.retune


def test_points_are_of_named_generators_and_survive_the_resolved_spec(tmp_path: Path) -> None:
    spec = retuned(tmp_path)
    points = of(spec).points
    expected = np.exp(numpy_generator(1000, "retune", 2).uniform(np.log(1e-3), np.log(1e-2)))
    assert points[2]["lr"] == pytest.approx(expected, rel=1e-12)
    assert set(points[2]["m_in"]) == {"below", "sd"}
    assert of(again(spec, tmp_path)).points == points
    assert of(retuned(tmp_path, "ablate.retune.num_trials=6")).points[:4] == points


@pytest.mark.parametrize("design", ["one_at_a_time", "factorial", "path", "leave_one_out"])
def test_trials_are_arms_times_seeds_and_tuning_trials(tmp_path: Path, design: str) -> None:
    spec = retuned(tmp_path, design=design)
    assert spec.ablate is not None
    arms = len(spec.ablate.arms)
    assert spec.tune.num_trials == arms * (4 + 3) == len(spec.ablate.points())


def test_points_of_few_values_are_all_different() -> None:
    retune = Retune(3, 5, {"a": Searched(Choice(("x", "y", "z")))})
    assert sorted(point["a"] for point in retune.points) == ["x", "y", "z"]
    assert len(Retune(4, 5, {"a": Searched(Choice(("x", "y", "z")))}).points) == 3


@pytest.mark.parametrize(
    ("override", "place", "rule"),
    [
        ("ablate.retune.num_trials=1", "retune.num_trials", "2 trials or more"),
        ("ablate.retune.num_trials=true", "retune.num_trials", "2 trials or more"),
        ("ablate.retune.seed=1", "retune.seed", "among ablate.seeds"),
        ("ablate.retune.seed=-1", "retune.seed", "whole number"),
        ("ablate.retune.search={}", "retune.search", "at least one parameter"),
        (f"ablate.retune={{num_trials: 4, search: {LR}}}", "retune.seed", "have one seed"),
        (f"ablate.retune={{num_trials: 4, seed: 9, search: {LR}, x: 1}}", "retune.x", "no such"),
        ("ablate.retune.search={lrr: {uniform: [0, 1]}}", "search.lrr", "no such parameter"),
        ("ablate.retune.search={lr: 0.1}", "search.lr", "needs a domain"),
        ("ablate.retune.search={lr: {uniform: [-1, 1]}}", "search.lr", "above 0"),
        ("ablate.retune.search={model.dropout: {uniform: [0, 0.1]}}", "dropout", "`train` alone"),
        (
            "ablate.retune.search={lr: {uniform: [0.1, 0.2], when: {loss: x}}}",
            "search.lr.when",
            "without a condition",
        ),
        ("ablate.retune.search={nesterov: {choice: [true, false]}}", "nesterov", "'plain' sets"),
        ("ablate.retune.search={energy_weight: {uniform: [0, 1]}}", "energy_weight", "sets"),
        ("ablate.retune.search={augment: {choice: [none, crop_flip]}}", "num_trials", "different"),
        ("ablate.retune=[1]", "ablate.retune", "mapping"),
    ],
)
def test_faults_name_place_and_rule(tmp_path: Path, override: str, place: str, rule: str) -> None:
    with pytest.raises(BadInput) as caught:
        retuned(tmp_path, override)
    told = [fault for fault in caught.value.faults if rule in fault.rule]
    assert told, caught.value
    assert place in told[0].key
    assert told[0].way_out


def test_stop_beside_retune_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"ablate\.stop ends arms early"):
        retuned(tmp_path, "ablate.seeds=[0, 1, 2, 3]", "ablate.stop={min_seeds: 3}")


def test_point_that_breaks_a_rule_in_one_arm_is_told_at_its_parameter(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at tuning point") as caught:
        retuned(
            tmp_path,
            "ablate.factors={margins: {low: {m_out: -30}}}",
            "ablate.retune.search={m_in: {absolute: {uniform: [-25, -15]}}}",
        )
    assert caught.value.faults[0].key == "ablate.retune.search.m_in"
    assert "'margins=low'" in caught.value.faults[0].rule


def test_smoke_tunes_least(tmp_path: Path) -> None:
    spec = load(tmp_path, SPACE.replace("DESIGN", "one_at_a_time"), smoke=True)
    assert of(spec).num_trials == 2
    assert set(of(spec).search) == {"lr"}
