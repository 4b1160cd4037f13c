from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from study.space.loading import load_space
from study.space.points import flat, flatten, grid, substitute
from study.space.search.domains import Choice, IntUniform, LogUniform, Uniform
from study.space.study_spec import StudySpec

SPACE = """
recipe: energy
search:
  lr: {loguniform: [1.0e-4, 1.0e-2]}
  m_in: {below: id_energy, sd: {uniform: [0, 6]}}
  m_out: {absolute: {choice: [-3, -5]}}
  batch_size: {choice: [64, 128]}
  epochs: {int: [2, 4]}
  model.dropout: {uniform: [0, 0.3], step: 0.1}
base: {dropout: 0.0}
"""
POINT: dict[str, Any] = {
    "train.lr": 1e-3,
    "train.m_in.sd": 2,
    "train.m_out": -5.0,
    "train.batch_size": 128,
    "train.epochs": 3,
    "model.dropout": 0.1,
}


def space(tmp_path: Path, text: str = SPACE) -> StudySpec:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return load_space(str(file))


def test_flat_names_and_domains_in_order(tmp_path: Path) -> None:
    assert flat(space(tmp_path)) == {
        "train.lr": LogUniform(1e-4, 1e-2),
        "train.m_in.sd": Uniform(0.0, 6.0),
        "train.m_out": Choice((-3.0, -5.0)),
        "train.batch_size": Choice((64, 128)),
        "train.epochs": IntUniform(2, 4),
        "model.dropout": Uniform(0.0, 0.3, 0.1),
    }


def test_substitute_gives_every_parameter(tmp_path: Path) -> None:
    spec = space(tmp_path)
    train, model = substitute(spec, POINT)
    assert train["m_in"] == {"below": "id_energy", "sd": 2.0}
    assert (train["m_out"], train["lr"], train["epochs"]) == (-5.0, 1e-3, 3)
    assert train.keys() == type(spec.params).model_fields.keys()
    assert model == {
        "backbone": "resnet20",
        "dropout": 0.1,
        "init": "base",
        "stem": "small",
        "normalisation": "imagenet",
        "image_size": None,
        "pretrained_on": [],
    }


def test_substitute_whole_number_for_a_float_is_a_float(tmp_path: Path) -> None:
    train, _ = substitute(space(tmp_path), POINT | {"train.lr": 1})
    assert type(train["lr"]) is float


@pytest.mark.parametrize("change", [{"train.foo": 1}, {"lr": 1}])
def test_substitute_foreign_names_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a point has the names"):
        substitute(space(tmp_path), POINT | change)


def test_substitute_value_outside_the_type_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lr"):
        substitute(space(tmp_path), POINT | {"train.lr": -1.0})


def test_flatten_dotted_names(tmp_path: Path) -> None:
    named = flatten(*substitute(space(tmp_path), POINT))
    assert named["train.m_in.sd"] == 2.0
    assert named["train.m_in.below"] == "id_energy"
    assert named["train.m_out"] == -5.0
    assert named["model.backbone"] == "resnet20"


def test_grid_every_point_once_last_fastest(tmp_path: Path) -> None:
    text = """
recipe: energy
search:
  batch_size: {choice: [64, 128]}
  momentum: {uniform: [0.1, 0.3], step: 0.1}
tune: {searcher: grid, num_trials: 6}
"""
    points = grid(space(tmp_path, text))
    assert points[:3] == [
        {"train.batch_size": 64, "train.momentum": value} for value in (0.1, 0.2, 0.3)
    ]
    assert len(points) == 6


def test_grid_continuous_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no countable values"):
        grid(space(tmp_path))


def test_points_of_steps_are_the_decimals_written() -> None:
    assert list(Uniform(0.0, 0.3, 0.1).points()) == [0.0, 0.1, 0.2, 0.3]
    assert list(IntUniform(1, 7, 3).points()) == [1, 4, 7]
    assert math.prod(d.count() or 0 for d in (Uniform(0.0, 0.3, 0.1), IntUniform(1, 7, 3))) == 12
