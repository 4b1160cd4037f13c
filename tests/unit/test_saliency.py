from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from study import saliency, saliency_maps
from study import validation_images as loading
from study.bases.saved_models import load_model
from study.data.images import ImageSet
from study.data.roles import OODValidation, StudyData, ValidationID
from study.errors import BadInput
from study.losses.similarity import Similarity
from study.models.weights import save_weights
from study.recipes.registry import make_recipe
from study.records.files import TRIAL_JSON, WEIGHTS, RunFolder, write_json
from study.records.frozen import seal
from study.records.scores import SetScores, ValidationScores
from study.training.assignment import Assignment
from study.training.chosen import ChosenWeights, save_chosen
from study.training.trial import fresh_model
from tests.toys import toy_data, train_section

MODEL = {"backbone": "resnet20", "dropout": 0.0}


class _Plan:
    """Stands for the sources of a run; gives all images, as before the leak check."""

    def __init__(self, data: StudyData) -> None:
        self.data = data

    def load_study(self, section: Any) -> StudyData:
        return self.data


def _less(images: ImageSet) -> ImageSet:
    return images.take(np.arange(1, len(images)))


def _checked(data: StudyData) -> StudyData:
    """Without the images that the leak check dropped: the first of each validation set."""
    far = _less(data.ood_val.sets["far"])
    val = ValidationID(_less(data.val_id.images))
    return StudyData(data.train, val, data.outliers, OODValidation({"far": far}), 3, demo=False)


def _scores(images: ImageSet) -> SetScores:
    """Of one epoch, higher from image to image."""
    values = np.linspace(-2, -1, len(images))[None]
    predicted = np.zeros(values.shape, np.int16)
    return SetScores({"msp": values}, predicted, predicted[0], images.ids, images.groups)


def _write_trial(run: RunFolder, recipe_name: str, train: dict[str, Any]) -> None:
    """Trial 00002 with fresh weights; those of a nordf trial tell its similarity."""
    folder = run.trial_checkpoints("00002")
    folder.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {"number": 2, "seed": 1, "model": MODEL, "train": train}
    model = fresh_model(make_recipe(recipe_name, train), Assignment(**told), 3, 8)
    similarity = Similarity(scale=12.0, offset=0.25).state_dict()
    loss = {f"similarity.{name}": values for name, values in similarity.items()}
    of_loss = loss if recipe_name == "nordf" else {}
    save_chosen(folder / WEIGHTS, ChosenWeights(model.state_dict(), {}, of_loss, {"epoch": "1"}))
    write_json(folder / TRIAL_JSON, {"recipe": recipe_name, **told, "objectives": []})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run whose trial 00002 is the winner, and whose leak check dropped images."""
    run, everything = RunFolder(tmp_path / "run"), toy_data()
    data = _checked(everything)
    _write_trial(run, "classifier", train_section())
    sets = {"val_id": data.val_id.images, **data.ood_val.sets}
    scores = {name: _scores(images) for name, images in sets.items()}
    ValidationScores(np.array([1], np.int32), scores).save(run.trial_scores("00002"))
    write_json(run.manifest, {"data": {"roles": data.fingerprints()}})
    write_json(run.selection, seal({"trial_id": "00002", "winner": "00002"}))
    monkeypatch.setattr(loading, "recorded_plan", lambda run: _Plan(everything))
    monkeypatch.setattr(loading, "load_resolved", lambda path: SimpleNamespace(data=None))
    return run


def _command(run: RunFolder, out: Path, *more: str) -> list[str]:
    return [str(run.path), "winner", "--out", str(out), "--images", "3", *more]


def test_checks_are_named_with_commas_or_none() -> None:
    told = saliency.parse(["RUN", "3", "--out", "OUT", "--checks", "agreement,deletion"])
    assert told.checks == ("agreement", "deletion")
    assert saliency.parse(["RUN", "3", "--out", "OUT", "--checks", "none"]).checks == ()


def test_command_writes_pictures_and_numbers_and_prints_a_table(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert saliency.main(_command(run, out)) == 0
    captured = capsys.readouterr()
    names = {"panel.png", "panel_val_id.png", "panel_far.png", "saliency.json"}
    assert {path.name for path in out.iterdir()} == names
    with Image.open(out / "panel.png") as picture:
        assert min(picture.size) > 300
    told = json.loads((out / "saliency.json").read_text())
    assert (told["trial"], told["recipe"], told["epoch"]) == ("00002", "classifier", 1)
    assert {name: len(ids) for name, ids in told["images"].items()} == {"val_id": 3, "far": 3}
    assert told["numbers"]["far"]["deletion"]["class"]["over_random"]["num_images"] == 3
    assert set(told["numbers"]["val_id"]["randomisation"]["class"]) == {"top", "all"}
    assert "agreement" not in told["numbers"]["far"]
    lines = captured.out.splitlines()
    assert lines[0].startswith("set")
    assert sum("rank correlation" in line for line in lines) == 4
    assert "no upper branch: maps of the classification only" in captured.err


def test_nordf_trial_is_explained_by_both_branches(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_trial(run, "nordf", {"width": 8, "branch_channels": 4, "own_score": "msp"})
    assert saliency.main(_command(run, tmp_path / "out")) == 0
    told = json.loads((tmp_path / "out" / "saliency.json").read_text())
    assert told["similarity"] == pytest.approx({"scale": 12.0, "offset": 0.25})
    for numbers in told["numbers"].values():
        assert set(numbers["deletion"]) == set(numbers["randomisation"]) == {"class", "similarity"}
        assert numbers["agreement"]["num_images"] == 3
        assert numbers["completeness_gap"]["similarity"] < 0.5  # a wrong sign gives 2
    assert "the two branches" in capsys.readouterr().out


def test_same_seed_gives_the_same_numbers(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saliency_maps, "draw_panel", lambda *_, **__: None)
    monkeypatch.setattr(saliency_maps, "save_panel", lambda *_: None)
    texts = []
    for name, seed in (("one", "0"), ("two", "0"), ("three", "1")):
        more = ("--seed", seed, "--checks", "deletion", "--method", "saliency")
        assert saliency.main(_command(run, tmp_path / name, *more)) == 0
        texts.append((tmp_path / name / "saliency.json").read_text())
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_images_that_the_leak_check_dropped_are_left_out(run: RunFolder) -> None:
    scores = loading.load_scores(run, "00002")
    data = loading.load_validation(run, scores)
    assert len(data.val_id) == len(toy_data().val_id.images) - 1
    assert b"000000" not in data.ood["far"].ids


def test_other_images_than_those_of_the_study_are_refused(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = toy_data()
    pixels = other.val_id.images.pixels
    pixels[5] = 255 - pixels[5]
    changed = ImageSet.make("val", pixels, labels=other.val_id.images.labels)
    data = StudyData(
        other.train, ValidationID(changed), None, other.ood_val, num_classes=3, demo=False
    )
    monkeypatch.setattr(loading, "recorded_plan", lambda run: _Plan(data))
    with pytest.raises(BadInput, match=r"roles.val_id.*not the images"):
        loading.load_validation(run, loading.load_scores(run, "00002"))


def test_trial_is_found_by_number_id_and_as_winner(run: RunFolder) -> None:
    assert {loading.find_trial(run, name) for name in ("2", "00002", "winner")} == {"00002"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["nowhere", "winner"], "holds no study"),
        (["RUN", "7"], "There are: 00002"),
        (["RUN", "winner", "--method", "lime"], "--method: 'lime': must be one of"),
        (
            ["RUN", "winner", "--images", "0"],
            "--images: '0': must be a whole number",
        ),
        (["RUN", "winner", "--seed", "-1"], "--seed: '-1'"),
        (["RUN", "winner", "--checks", "deletion,beauty"], "--checks: 'beauty': must be all"),
    ],
)
def test_bad_input_is_told_without_a_traceback(
    run: RunFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    told: str,
) -> None:
    given = [str(run.path) if one == "RUN" else one for one in change]
    assert saliency.main([*given, "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert told in message
    assert "Traceback" not in message
    assert not (tmp_path / "out").exists()


def test_winner_of_an_open_study_is_refused(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.selection.unlink()
    assert saliency.main(_command(run, tmp_path / "out")) == 2
    assert "no trial has been chosen yet" in capsys.readouterr().err


def test_weights_that_give_no_finite_map_exit_1(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run.trial_checkpoints("00002") / WEIGHTS
    model = load_model(run, "00002", 3, 8).model
    torch.nn.init.constant_(model.fc.weight, float("nan"))  # type: ignore[arg-type,union-attr]
    save_weights(model, path, {"epoch": "1"})
    assert saliency.main(_command(run, tmp_path / "out", "--checks", "none")) == 1
    assert "not finite" in capsys.readouterr().err
