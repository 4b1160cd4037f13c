"""README's examples: each is all that a new thing takes, for a YAML and for a trial."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.examples import copied_project, example, run_in
from tests.small_data import write_small_root

PLACES = {
    "A file format": "study/data/formats/npz.py",
    "A loss against outliers": "study/recipes/outlier_losses/quiet.py",
    "A reconstruction loss": "study/losses/reconstructions/minkowski.py",
    "A post-hoc detector": "study/detectors/methods/norm.py",
    "A metric": "study/scoring/metrics.py",
    "A searcher": "study/searchers/methods/joint.py",
    "A backbone": "study/models/plain.py",
}

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


FORMAT = """
from pathlib import Path
import numpy as np
from study.data.plan import make_plan
from study.data.section import DataSection
images = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), dtype=np.uint8)
for name in ("outliers/dots_train", "ood_val/dots", "ood_test/more"):
    Path("data", name).parent.mkdir(parents=True, exist_ok=True)
    np.savez(Path("data", name), images=images, labels=np.zeros(6, int))
plan = make_plan(DataSection(outliers=["dots_train"], ood_val=["dots"], ood_test=["more"]), "demo")
assert [one.reader for one in (*plan.outliers, *plan.ood_val.values())] == ["npz", "npz"]
assert plan.ood_test["more"].description["reader"] == "npz"
assert not told("energy", "data.ood_val=[dots]")
assert len(plan.load_study(DataSection()).outliers.images) == 6
"""
METRIC = """
import numpy as np
from analysis.numbers import is_fraction, metric_label
from analysis.tables import direction_of
from study.scoring.measuring import ood_metric, resampled_metrics
assert not told("energy", "select.metric=val/detection_error")
assert metric_label("val/detection_error") == "Detection error (%)"
assert (direction_of("val/detection_error"), is_fraction("detection_error")) == ("min", True)
assert ood_metric("detection_error", [0, 1], [2, 3]) == 0
assert ood_metric("detection_error", [0, 0], [0, 0]) == 0.5
assert ood_metric("detection_error", [0, 1, 2, 3], [2, 3, 4, 5]) == 0.25
twice = resampled_metrics(
    [0.0, 1.0], [0.5, 2.0], np.array([[1, 1], [2, 0]]), np.array([[1, 1], [1, 1]]),
    ["detection_error"])
assert twice["detection_error"].tolist() == [0.25, 0.0]
assert "torch" not in sys.modules
metrics = trained("energy").metrics
assert metrics["val/detection_error"] == metrics["val/far/energy/detection_error"]
"""
SEARCHER = """
new = ["tune.searcher=joint", "tune.num_candidates=12"]
assert not told("energy", *new)
assert load_space("energy", new).tune.searcher_parameters() == {"num_candidates": 12}
assert "must be at least 1" in told("energy", new[0], "tune.num_candidates=0")
assert "has no effect without searcher: joint" in told("energy", new[1])
assert "optuna" not in sys.modules
from pathlib import Path
from tests.toys import run_toy_search
asked = {"searcher": "joint", "parameters": {"num_candidates": 2}}
whole = run_toy_search(Path("whole"), 16, **asked)
run_toy_search(Path("cut"), 16, stop_after=9, **asked)
cut = run_toy_search(Path("cut"), 16, **asked)
assert [one.params for one in cut.trials] == [one.params for one in whole.trials]
"""
BACKBONE = """
assert not told("energy", "model.backbone=plain")
assert "plain has no dropout" in told("energy", "model.backbone=plain", "model.dropout=0.1")
assert "torch" not in sys.modules
import torch
from study.models.registry import build_classifier
model = build_classifier("plain", 3, seed=0)
assert model(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape == (2, 3)
again = build_classifier("plain", 3, seed=0).state_dict()
assert all(torch.equal(one, again[name]) for name, one in model.state_dict().items())
"""


def added(project: Path, title: str) -> None:
    """Put README's example into a copy; a function goes to the end of its file."""
    place = project / PLACES[title]
    before = f"{place.read_text(encoding='utf-8')}\n\n" if place.exists() else ""
    place.write_text(before + example(title), encoding="utf-8")


@pytest.mark.parametrize("title", PLACES)
def test_example_is_short(title: str) -> None:
    assert len(example(title).splitlines()) <= 25


@pytest.mark.parametrize(
    ("title", "uses"),
    [
        ("A file format", FORMAT),
        ("A reconstruction loss", RECONSTRUCTION),
        ("A post-hoc detector", DETECTOR),
        ("A metric", METRIC),
        ("A searcher", SEARCHER),
        ("A backbone", BACKBONE),
    ],
)
def test_example_is_all_that_a_new_thing_takes(tmp_path: Path, title: str, uses: str) -> None:
    project = copied_project(tmp_path)
    added(project, title)
    done = run_in(project, USES + uses)
    assert done.returncode == 0, done.stderr


SMALL = (
    "base.epochs=1", "base.warmup_epochs=0", "base.epoch_images=128", "train.epochs=1",
    "train.warmup_epochs=0", "train.epoch_images=64", "tune.num_trials=2",
    "search.batch_size={choice: [16, 32]}",
    "select.floor={id_accuracy: {at_least: 0.0}}",
)  # fmt: skip
WITHOUT_RAY = """
from study.cli import main
from study.tune import searching
from tests.without_ray import in_a_loop
searching.run_on_ray = in_a_loop
"""


@pytest.mark.parametrize(
    ("space", "titles", "changes"),
    [
        (
            "outlier_exposure",
            ("A file format", "A loss against outliers", "A post-hoc detector", "A metric",
             "A searcher", "A backbone"),
            ("model.backbone=plain", "train.loss=quiet", "search.oe_weight=null",
             "train.detectors=[norm]", "search.quiet_weight={loguniform: [0.01, 1]}",
             "select.metric=val/detection_error", "tune.searcher=joint",
             "data.ood_val=[dots.npz]"),
        ),
        (
            "nordf",
            ("A reconstruction loss",),
            ("train.reconstruction=minkowski", "search.reconstruction=null",
             "train.perceptual_network=null", "search.minkowski_power={uniform: [1, 4]}"),
        ),
    ],
    ids=["outliers", "nordf"],
)  # fmt: skip
def test_examples_run_in_a_study(
    tmp_path: Path, space: str, titles: tuple[str, ...], changes: tuple[str, ...]
) -> None:
    project = copied_project(tmp_path)
    for title in titles:
        added(project, title)
    images = np.random.default_rng(0).integers(0, 255, (64, 32, 32, 3), dtype=np.uint8)
    np.savez(project / "dots.npz", images=images, labels=np.zeros(64, int))
    root = ("--data-root", str(write_small_root(project / "data")))
    asked = ("--space", space, *root, "--smoke", "--out", "run", "--set", *SMALL, *changes)
    done = run_in(project, f"{WITHOUT_RAY}raise SystemExit(main({asked}))")
    assert done.returncode == 0, done.stderr[-4000:]
    page = (project / "run" / "report.html").read_text(encoding="utf-8")
    told = {
        "outlier_exposure": ("a TPE that models all parameters jointly", "etection error"),
        "nordf": ("minkowski",),
    }
    assert all(words in page for words in told[space])
