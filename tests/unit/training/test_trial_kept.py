from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from study.data.images import ImageSet
from study.data.roles import KeptPart, StudyData
from study.models.weights import load_weights
from study.records.files import WEIGHTS, RunFolder
from study.records.scores import has_scores, read_scores
from study.scoring.measuring import ood_metrics
from study.scoring.objective import standing
from study.training.assignment import Assignment
from study.training.loop import Goal
from study.training.starting import Starting
from study.training.trial import TrialSetting, run_trial
from tests.toys import toy_data, toy_images, train_section

SEARCHED = Assignment(4, 11, {"backbone": "resnet20", "dropout": 0.0}, train_section("energy"))
CONFIRMING = replace(SEARCHED, kept=True)


def _data(kept_seed: int = 5) -> StudyData:
    kept_id = toy_images("kept", 18, classes=3, seed=kept_seed)
    far: ImageSet = toy_images("far", 12, seed=kept_seed + 1)
    return replace(toy_data(), kept=KeptPart(kept_id, {"far": far}))


def _setting(run: Path, data: StudyData, recipe: str = "energy") -> TrialSetting:
    run.mkdir(exist_ok=True)
    RunFolder(run).manifest.touch()
    threads = torch.get_num_threads()
    goal = Goal("val/fpr95", None)
    return TrialSetting(recipe, data, Starting(), run, goal, "best", threads, "cpu")


def _numbers(message: dict[str, Any], but: str = "nothing") -> dict[str, float]:
    skip = ("time_s", "images_per_s")
    told = message["metrics"].items()
    return {name: one for name, one in told if name not in skip and not name.startswith(but)}


def _told(assignment: Assignment, setting: TrialSetting) -> list[dict[str, Any]]:
    return [json.loads(message) for message in run_trial(assignment, setting)]


def test_confirming_run_is_scored_on_the_kept_part_beside_the_other(tmp_path: Path) -> None:
    told = _told(CONFIRMING, _setting(tmp_path, _data()))
    scores = read_scores(RunFolder(tmp_path), "00004", kept=True)
    assert scores.epochs.tolist() == [1, 2]
    assert [len(one.image) for one in scores.sets.values()] == [18, 12]
    for row, message in enumerate(told):
        one = [scores.sets[name].scores["energy"][row] for name in ("val_id", "far")]
        metrics, found = message["metrics"], ood_metrics(*one)
        assert (metrics["confirm/fpr95"], metrics["confirm/auroc"]) == (
            found["fpr95"],
            found["auroc"],
        )
        right = scores.sets["val_id"].prediction[row] == scores.sets["val_id"].label
        assert metrics["confirm/id_accuracy"] == np.mean(right)


def test_trial_of_the_search_never_touches_the_kept_part(tmp_path: Path) -> None:
    plain = _told(SEARCHED, _setting(tmp_path / "plain", toy_data()))
    told = _told(SEARCHED, _setting(tmp_path / "kept", _data()))
    assert [_numbers(one) for one in told] == [_numbers(one) for one in plain]
    assert not any(name.startswith("confirm/") for name in told[0]["metrics"])
    assert not has_scores(RunFolder(tmp_path / "kept"), "00004", kept=True)


@pytest.mark.parametrize("fine_tune", ["full", "linear"])
def test_kept_part_moves_neither_weights_nor_epoch_nor_other_scores(
    tmp_path: Path, fine_tune: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))
    section = train_section("energy") | {"fine_tune": fine_tune}
    runs = {
        "plain": (replace(SEARCHED, train=section), toy_data()),
        "one": (replace(CONFIRMING, train=section), _data(5)),
        "other": (replace(CONFIRMING, train=section), _data(9)),
    }
    told = {
        name: _told(one, _setting(tmp_path / name, data)) for name, (one, data) in runs.items()
    }
    for name in ("one", "other"):
        numbers = [_numbers(one, "confirm/") for one in told[name]]
        assert numbers == [_numbers(one) for one in told["plain"]]
        for file in ("scores", "weights"):
            paths = [RunFolder(tmp_path / each) for each in ("plain", name)]
            if file == "weights":
                tensors = [load_weights(p.trial_checkpoints("00004") / WEIGHTS) for p in paths]
                assert tensors[0][1] == tensors[1][1]
                first, second = tensors[0][0], tensors[1][0]
                assert all(torch.equal(first[key], second[key]) for key in first)
            else:
                read = [_contents(path.epoch_scores("00004")) for path in paths]
                assert read[0] == read[1]
    kept = [RunFolder(tmp_path / name).epoch_scores("00004", kept=True) for name in runs]
    assert _contents(kept[1]) != _contents(kept[2])


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*")}


def test_confirming_run_cut_off_and_resumed_keeps_the_same_scores(tmp_path: Path) -> None:
    whole = _told(CONFIRMING, _setting(tmp_path / "whole", _data()))
    cut = run_trial(CONFIRMING, _setting(tmp_path / "cut", _data()))
    first = json.loads(next(cut))
    cut.close()  # type: ignore[attr-defined]
    resumed = replace(CONFIRMING, standings=(standing(first["metrics"]),))
    (last,) = _told(resumed, _setting(tmp_path / "cut", _data()))
    assert _numbers(last) == _numbers(whole[1])
    kept = [RunFolder(tmp_path / one).epoch_scores("00004", kept=True) for one in ("whole", "cut")]
    assert _contents(kept[0]) == _contents(kept[1])
