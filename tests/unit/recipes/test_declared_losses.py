"""A loss against outliers is one file: what it declares, and what is told where it is wrong."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from study.errors import BadInput
from study.recipes import outlier_losses
from study.recipes.declared_losses import declared_losses
from study.recipes.energy_params import make_outlier_params
from study.recipes.registry import RECIPES, make_recipe
from study.space.loading import load_space
from study.training.loop import Goal, train
from tests.examples import Write, example, joined_folder
from tests.toys import toy_data, train_section

EXAMPLE = example("A loss against outliers")
CLASS = "class Loss: pass\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Puts the file of a loss called ``toy``, or another, into the room."""
    put = joined_folder(outlier_losses, tmp_path / "losses", monkeypatch)
    importlib.invalidate_caches()
    yield put
    sys.modules.pop(f"{outlier_losses.__name__}.toy", None)
    vars(outlier_losses).pop("toy", None)


@pytest.fixture
def toy_recipe(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The room with README's example, and the recipe as a fresh process reads it."""
    write(EXAMPLE)
    monkeypatch.setitem(RECIPES, "outliers", make_outlier_params())


@pytest.mark.usefixtures("toy_recipe")
def test_file_in_the_room_is_a_loss_of_a_space() -> None:
    overrides = ["train.loss=toy", "search.oe_weight=null"]
    search = "search.quiet_weight={loguniform: [0.01, 1]}"
    spec = load_space("outlier_exposure", [*overrides, search])
    assert spec.train["loss"] == "toy"
    assert "quiet_weight" in spec.search
    with pytest.raises(BadInput, match="quiet_weight has no effect with another loss than toy"):
        load_space("outlier_exposure", ["train.quiet_weight=0.2"])
    with pytest.raises(BadInput, match="must be at least 0"):
        load_space("outlier_exposure", [*overrides, "train.quiet_weight=-1"])


@pytest.mark.usefixtures("toy_recipe")
def test_file_in_the_room_leaves_the_specs_of_other_losses_as_they_are() -> None:
    assert "quiet_weight" not in load_space("outlier_exposure").resolved()["train"]
    overrides = ["train.loss=toy", "search.oe_weight=null", "train.quiet_weight=0.2"]
    assert load_space("outlier_exposure", overrides).resolved()["train"]["quiet_weight"] == 0.2


@pytest.mark.usefixtures("toy_recipe")
def test_file_in_the_room_trains() -> None:
    section = train_section("energy", loss="toy", quiet_weight=2.0, epochs=1, epoch_images=16)
    recipe = make_recipe("outliers", section)
    model = recipe.build_model("resnet20", 3, dropout=0.0, image_size=8, seed=7)
    before = model.get_parameter("fc.weight").detach().clone()
    goal = Goal("val/fpr95", None)
    (epoch,) = train(recipe, model, toy_data(), seed=7, goal=goal, device=torch.device("cpu"))
    assert epoch.metrics["train/quiet"] > 0
    assert not torch.equal(before, epoch.state.model["fc.weight"])


def test_parameter_of_each_kind_has_its_type_and_bounds(write: Write) -> None:
    write(
        'DECLARED = {"parameters": {"hard": {"default": True}, "of": {"default": "sum", '
        '"choices": ["sum", "mean"]}, "top": {"default": 3, "ge": 1}}}\n' + CLASS
    )
    params = make_outlier_params()
    made = params(loss="toy", hard=False, of="mean", top=1)
    assert made.model_dump(include={"hard", "of", "top"}) == {
        "hard": False, "of": "mean", "top": 1,
    }  # fmt: skip
    for name, value in {"hard": 1, "of": "max", "top": 0}.items():
        with pytest.raises(ValidationError, match=name):
            params(**{name: value})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("DECLARED = {}\n", "has a class Loss"),
        (f"DECLARED = {{'margin': True}}\n{CLASS}", "DECLARED.margin: True: there is no such key"),
        (f"DECLARED = {{'linear': False}}\n{CLASS}", "True, or the reason why not"),
        (f"DECLARED = {{'parameters': {{'a': 1}}}}\n{CLASS}", "DECLARED.parameters.a: 1: "),
        (
            f"DECLARED = {{'parameters': {{'lr': {{'default': 0.1}}}}}}\n{CLASS}",
            ": DECLARED.parameters.lr: every loss has this already",
        ),
        (
            f"DECLARED = {{'parameters': {{'oe_weight': {{'default': 1.5}}}}}}\n{CLASS}",
            r"outlier_exposure\.py declares this parameter otherwise",
        ),
    ],
)
def test_wrong_declaration_is_told_with_its_file(write: Write, text: str, told: str) -> None:
    write(text)
    with pytest.raises(BadInput, match=rf"toy.*{told}"):
        make_outlier_params()


def test_all_wrong_files_are_told_together(write: Write) -> None:
    write(CLASS, "one")
    write(CLASS, "Two")
    with pytest.raises(BadInput) as caught:
        declared_losses()
    assert {Path(fault.place).name for fault in caught.value.faults} == {"one.py", "Two.py"}


def test_reason_against_linear_is_told_after_the_losss_name(write: Write) -> None:
    write(f"DECLARED = {{'linear': 'looks at pixels'}}\n{CLASS}")
    with pytest.raises(ValidationError, match="toy looks at pixels"):
        make_outlier_params()(loss="toy", fine_tune="linear")
