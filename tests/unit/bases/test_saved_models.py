from __future__ import annotations

from pathlib import Path

import pytest
import torch

from study.bases.saved_models import load_model
from study.errors import BadInput
from study.recipes.registry import make_recipe
from study.records.files import TRIAL_JSON, WEIGHTS, RunFolder, write_json
from study.training.chosen import ChosenWeights, save_chosen
from tests.toys import SIZE, train_section


@pytest.mark.parametrize("word", ["classifier", "cifar10"])
def test_model_of_a_classifier_is_brought_back_under_either_word(
    tmp_path: Path, word: str
) -> None:
    run = RunFolder(tmp_path)
    folder = run.trial_checkpoints("00000")
    folder.mkdir(parents=True)
    recipe = make_recipe("classifier", train_section())
    state = recipe.build_model("resnet20", 3, dropout=0.0, image_size=SIZE, seed=3).state_dict()
    save_chosen(folder / WEIGHTS, ChosenWeights(state, {}, {}, {"epoch": "2"}))
    model = {"backbone": "resnet20", "dropout": 0.0, "init": "random"}
    told = {"number": 0, "seed": 0, "model": model, "train": train_section()}
    write_json(folder / TRIAL_JSON, {"recipe": word, **told})
    saved = load_model(run, "00000", 3, SIZE)
    assert saved.recipe_name == "classifier"
    assert torch.equal(saved.model.state_dict()["fc.weight"], state["fc.weight"])


@pytest.mark.parametrize(
    "change",
    [
        {"train": []},
        {"model": "resnet20"},
        {"model": {"backbone": 3, "dropout": 0.0}},
        {"model": {"dropout": 0.0}},
        {"train": {"epochs": "many"}},
        {"recipe": "another"},
    ],
)
def test_trial_json_that_tells_of_no_model_is_refused_by_its_name(
    tmp_path: Path, change: dict[str, object]
) -> None:
    run = RunFolder(tmp_path)
    model = {"backbone": "resnet20", "dropout": 0.0, "init": "random"}
    told = {"number": 0, "seed": 0, "model": model, "train": train_section()}
    write_json(run.trial_checkpoints("00000") / TRIAL_JSON, {"recipe": "energy", **told, **change})
    with pytest.raises(BadInput, match=r"trial\.json: does not say what the weights are of"):
        load_model(run, "00000", 3, SIZE)
