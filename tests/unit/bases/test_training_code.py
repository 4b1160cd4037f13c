from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from study.bases.training_code import (
    NO_WEIGHT,
    PROBING,
    ROOT,
    code_version,
    hash_of,
    training_modules,
)

MODULES = training_modules("resnet20")
# Trains a classifier for an epoch and prints what of the project was imported for it.
TRAINS = """
import sys, torch
from study.models.registry import build_classifier
from study.recipes.classifier import ClassifierRecipe as Recipe
from study.recipes.classifier_params import ClassifierParams
from study.training.loop import Goal, train
from tests.toys import toy_data, train_section
recipe = Recipe(ClassifierParams.model_validate(train_section(epochs=1)))
model = recipe.build_model("resnet20", 3, dropout=0.0, image_size=8, seed=0)
list(train(recipe, model, toy_data(), seed=0, goal=Goal("val/id_accuracy", None),
           device=torch.device("cpu")))
print(*(name for name in sys.modules if name.startswith("study.")))
"""


def _copy(tmp_path: Path) -> Path:
    for name in ("bases", "data", "losses", "models", "recipes", "training"):
        shutil.copytree(ROOT / "study" / name, tmp_path / "study" / name)
    for path in (ROOT / "study").glob("*.py"):
        shutil.copy(path, tmp_path / "study")
    return tmp_path


def test_code_that_trains_is_in_the_key_and_what_only_looks_on_is_not() -> None:
    assert {
        "study.bases.training",
        "study.data.batches",
        "study.data.order",
        "study.losses.classification",
        "study.models.classifier",
        "study.models.names",
        "study.models.registry",
        "study.models.resnet_cifar",
        "study.recipes.base",
        "study.recipes.classifier",
        "study.seeding",
        "study.training.loop",
        "study.training.optimizers",
        "study.training.schedules",
    } <= set(MODULES)
    rooms = {name.split(".")[1] for name in MODULES}
    assert rooms.isdisjoint({"space", "watch", "tune", "records", "explain", "detectors"})
    assert not any("nordf" in name or "outlier" in name for name in MODULES)


def test_every_module_that_training_loads_is_in_the_key_or_named_as_changing_nothing() -> None:
    program = TRAINS
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    rooms = ("study.models.", "study.losses.", "study.training.", "study.seeding")
    loaded = {name for name in told.stdout.split() if name.startswith(rooms)}
    # These three declare values for the recipes' parameters, which stand in the key themselves.
    declare = ("study.losses.margins", "study.losses.names", "study.losses.reconstructions")
    assert "study.training.loop" in loaded
    missing = loaded.difference(MODULES, NO_WEIGHT, declare, [PROBING])
    assert not missing


@pytest.mark.parametrize("name", NO_WEIGHT)
def test_what_is_left_out_is_there(name: str) -> None:
    path = ROOT.joinpath(*name.split("."))
    assert path.is_dir() or path.with_suffix(".py").is_file()


@pytest.mark.parametrize(
    ("changed", "text", "same"),
    [
        ("models/classifier.py", "SCALE = 2\n", False),
        ("models/names.py", "SCALE = 2\n", False),
        ("training/schedules.py", "SCALE = 2\n", False),
        ("training/schedules.py", "# a remark\n", True),
        ("models/wrn.py", "SCALE = 2\n", True),  # another backbone's
        ("recipes/nordf.py", "SCALE = 2\n", True),
        ("training/linear.py", "SCALE = 2\n", True),
    ],
)
def test_changed_code_is_another_key_where_it_trains(
    changed: str, text: str, same: bool, tmp_path: Path
) -> None:
    root = _copy(tmp_path)
    with (root / "study" / changed).open("a") as file:
        file.write(text)
    assert training_modules("resnet20", root=root) == MODULES
    assert (hash_of(MODULES, root) == hash_of(MODULES)) is same


def test_import_that_is_added_brings_its_module_into_the_key(tmp_path: Path) -> None:
    root = _copy(tmp_path)
    with (root / "study/training/optimizers.py").open("a") as file:
        file.write("def later():\n    from study.losses import groups\n")
    assert set(training_modules("resnet20", root=root)) - set(MODULES) == {
        "study.losses",
        "study.losses.groups",
    }


def test_docstrings_and_line_breaks_are_no_part_of_the_code(tmp_path: Path) -> None:
    plain = 'def f(x):\n    """Say."""\n    return x + 1\n'
    broken = "def f(\n    x\n):\n    return (x + 1)\n"
    found = set()
    for name, text in (("plain", plain), ("broken", broken)):
        (tmp_path / name / "study").mkdir(parents=True)
        (tmp_path / name / "study" / "a.py").write_text(text)
        found.add(hash_of(["study.a"], tmp_path / name))
    assert len(found) == 1


def test_code_version_is_of_the_backbone_and_of_the_way_of_training() -> None:
    whole = code_version("resnet20")
    assert code_version("resnet56") == whole  # of the same file
    others = [
        code_version("wrn_16_2"),
        code_version("resnet20", probes=True),
        code_version("resnet20", starts=True),
    ]
    assert len({whole, *others}) == 4
