"""README's examples: each is all that a new thing takes, for a YAML and for a trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples import copied_project, example, run_in

TITLES = ("A loss against outliers", "A reconstruction loss", "A post-hoc detector")

USES = """
import sys
from study.errors import BadInput
from study.space.loading import load_space

def told(space, *changes):
    try:
        load_space(space, changes)
    except BadInput as error:
        return str(error)
    return ""

def spec_of(space, *changes):
    return load_space(space, changes).resolved()["train"]

def trained(name, **section):
    import torch
    from study.recipes.registry import make_recipe
    from study.training.loop import Goal, train
    from tests.toys import toy_data, train_section
    recipe = make_recipe(name, train_section(name, epochs=1, **section))
    model = recipe.build_model("resnet20", 3, dropout=0.0, image_size=8, seed=0)
    goal = Goal("val/id_accuracy", None)
    (epoch,) = train(recipe, model, toy_data(), seed=0, goal=goal, device=torch.device("cpu"))
    return epoch
"""
RECONSTRUCTION = """
new = [
    "search.reconstruction=null", "train.reconstruction=minkowski", "train.perceptual_network=null"
]
assert not told("nordf", *new, "search.minkowski_power={uniform: [1, 4]}")
assert spec_of("nordf", *new, "train.minkowski_power=2.0")["minkowski_power"] == 2.0
assert "minkowski_power" not in spec_of("nordf")
assert "must be at least 1" in told("nordf", *new, "train.minkowski_power=0.5")
assert "minkowski_power has no effect without reconstruction: minkowski" in told(
    "nordf", "train.minkowski_power=2.0")
assert "torch" not in sys.modules
found = trained("nordf", reconstruction="minkowski", perceptual_network=None, minkowski_power=2.0)
mse = trained("nordf", reconstruction="mse", perceptual_network=None)
assert 0 < found.metrics["train/reconstruction"] == mse.metrics["train/reconstruction"]
"""
DETECTOR = """
assert "norm_power has no effect without norm in detectors" in told("energy", "train.norm_power=3")
new = "train.detectors=[norm]"
assert "must be at least 1" in told("energy", new, "train.norm_power=0.5")
assert not told("energy", new, "search.norm_power={uniform: [1, 4]}", "train.own_score=norm")
assert "norm_power" not in spec_of("energy", new)
assert spec_of("energy", new, "train.norm_power=3.0")["norm_power"] == 3.0
assert "norm_power" not in spec_of("baselines")
assert "torch" not in sys.modules
one = trained("energy", detectors=["norm"], own_score="norm")
other = trained("energy", detectors=["norm"], own_score="norm", norm_power=1.0)
assert one.metrics["val/auroc"] == one.metrics["val/far/norm/auroc"]
first, second = (each.scores.sets["far"].scores["norm"][0] for each in (one, other))
assert (second < first).all()  # minus the sum is below minus the length
"""


@pytest.mark.parametrize("title", TITLES)
def test_example_is_short(title: str) -> None:
    assert len(example(title).splitlines()) <= 25


@pytest.mark.parametrize(
    ("title", "place", "uses"),
    [
        ("A reconstruction loss", "study/losses/reconstructions/minkowski.py", RECONSTRUCTION),
        ("A post-hoc detector", "study/detectors/methods/norm.py", DETECTOR),
    ],
)
def test_example_is_all_that_a_new_thing_takes(
    tmp_path: Path, title: str, place: str, uses: str
) -> None:
    project = copied_project(tmp_path)
    (project / place).write_text(example(title), encoding="utf-8")
    done = run_in(project, USES + uses)
    assert done.returncode == 0, done.stderr
