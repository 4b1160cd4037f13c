from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from study.models.weights import load_weights
from study.recipes.registry import make_recipe
from study.records.files import TRIAL_JSON, WEIGHTS, RunFolder
from study.records.scores import read_scores
from study.scoring.floor import Floor
from study.scoring.measuring import ood_metrics
from study.scoring.objective import standing
from study.scoring.path import PathPlan
from study.training import trial
from study.training.assignment import Assignment
from study.training.checkpoint import has_checkpoint
from study.training.evaluation import evaluate
from study.training.loop import Goal
from study.training.starting import Starting
from study.training.trial import TrialSetting, give_back_memory, run_trial
from tests.toys import toy_data, train_section

Messages = list[dict[str, Any]]
MODEL = {"backbone": "resnet20", "dropout": 0.0}


def _setting(run: Path, **changes: Any) -> TrialSetting:
    run.mkdir(exist_ok=True)
    RunFolder(run).manifest.touch()  # by which a worker knows that it sees the run's folder
    settings: dict[str, Any] = {
        "recipe": "energy",
        "data": toy_data(),
        "starting": Starting(),
        "run": run,
        "goal": Goal("val/fpr95", None),
        "checkpoint_rule": "best",
        "threads": torch.get_num_threads(),
        "device": "cpu",
    }
    return TrialSetting(**(settings | changes))


def _assignment(recipe: str = "energy", **changes: Any) -> Assignment:
    return Assignment(4, 11, MODEL, train_section(recipe, **({"epochs": 3} | changes)))


def _messages(assignment: Assignment, setting: TrialSetting) -> Messages:
    return [json.loads(message) for message in run_trial(assignment, setting)]


def _numbers(message: dict[str, Any]) -> dict[str, float]:
    skip = ("time_s", "images_per_s")
    return {name: value for name, value in message["metrics"].items() if name not in skip}


def test_trial_tells_every_epoch_and_keeps_its_files(tmp_path: Path) -> None:
    told = _messages(_assignment(), _setting(tmp_path))
    run = RunFolder(tmp_path)
    assert [message["epoch"] for message in told] == [1, 2, 3]
    scores = read_scores(run, "00004")
    assert scores.epochs.tolist() == [1, 2, 3]
    for row, message in enumerate(told):
        one = [scores.sets[name].scores["energy"][row] for name in ("val_id", "far")]
        assert ood_metrics(*one)["auroc"] == message["metrics"]["val/auroc"]
    folder = run.trial_checkpoints("00004")
    assert [has_checkpoint(folder, epoch) for epoch in (1, 2, 3)] == [False, True, True]
    about = json.loads((folder / TRIAL_JSON).read_text())
    assert (about["recipe"], about["seed"], about["model"]) == ("energy", 11, MODEL)
    assert about["precision"] == "fp32"


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[float]], None]:
    """Gives the epochs of a trial these objectives."""

    def judge(values: list[float]) -> None:
        whole = trial.train

        def train(*arguments: Any, **named: Any) -> Iterator[Any]:
            for result in whole(*arguments, **named):
                result.metrics["val/objective"] = values[result.epoch - 1]
                yield result

        monkeypatch.setattr(trial, "train", train)

    return judge


@pytest.mark.parametrize(
    ("rule", "values", "epoch"),
    [
        ("best", [0.5, 0.2, 0.4], 2),
        ("best", [0.5, 0.2, 0.2], 2),
        ("best", [0.1, 0.2, 0.3], 1),
        ("last", [0.1, 0.2, 0.3], 3),
    ],
)
def test_weights_are_of_the_epoch_that_the_rule_picks(
    tmp_path: Path,
    judged: Callable[[list[float]], None],
    rule: str,
    values: list[float],
    epoch: int,
) -> None:
    judged(values)
    _messages(_assignment(), _setting(tmp_path, checkpoint_rule=rule))
    _, metadata = load_weights(RunFolder(tmp_path).trial_checkpoints("00004") / WEIGHTS)
    assert metadata["epoch"] == str(epoch)


@pytest.mark.parametrize("ahead", [0, 1])
def test_resumed_trial_goes_on_from_what_is_on_record(tmp_path: Path, ahead: int) -> None:
    """Also where it had trained (and saved) one epoch more than the ledger knows of."""
    whole = _messages(_assignment(), _setting(tmp_path / "whole"))
    cut = run_trial(_assignment(), _setting(tmp_path / "cut"))
    first, *_ = [json.loads(next(cut)) for _ in range(1 + ahead)]
    cut.close()  # type: ignore[attr-defined]
    recorded = (standing(first["metrics"]),)
    assignment = replace(_assignment(), standings=recorded, scores=(first["scores"],))
    rest = _messages(assignment, _setting(tmp_path / "cut"))
    assert [message["epoch"] for message in rest] == [2, 3]
    assert [_numbers(m) for m in rest] == [_numbers(m) for m in whole[1:]]
    _same_files(tmp_path / "whole", tmp_path / "cut")


def test_resumed_trial_without_its_checkpoints_starts_over(tmp_path: Path) -> None:
    whole = _messages(_assignment(), _setting(tmp_path))
    shutil.copytree(tmp_path, tmp_path.with_name("kept"))
    shutil.rmtree(RunFolder(tmp_path).trial_checkpoints("00004"))
    told = {
        "standings": tuple(standing(message["metrics"]) for message in whole[:2]),
        "scores": tuple(message["scores"] for message in whole[:2]),
    }
    again = _messages(replace(_assignment(), **told), _setting(tmp_path))
    assert [_numbers(m) for m in again] == [_numbers(m) for m in whole]
    _same_files(tmp_path.with_name("kept"), tmp_path)


def _same_files(one: Path, two: Path) -> None:
    paths = [RunFolder(path) for path in (one, two)]
    weights = [load_weights(run.trial_checkpoints("00004") / WEIGHTS) for run in paths]
    assert weights[0][1] == weights[1][1]
    assert all(torch.equal(weights[0][0][name], weights[1][0][name]) for name in weights[0][0])
    scores = [_contents(run.epoch_scores("00004")) for run in paths]
    assert scores[0] == scores[1]


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_trial_starts_from_the_base_that_it_is_given(tmp_path: Path) -> None:
    recipe = make_recipe("energy", train_section("energy"))
    base = recipe.build_model("resnet20", 3, dropout=0.0, image_size=8, seed=5)
    arrays = {name: tensor.numpy().copy() for name, tensor in base.state_dict().items()}
    for array in arrays.values():
        array.flags.writeable = False  # as they come from the object store
    setting = _setting(tmp_path, starting=Starting(weights={"resnet20": arrays}))
    _messages(_assignment(epochs=1, lr=1e-12, weight_decay=0.0), setting)
    weights, _ = load_weights(RunFolder(tmp_path).trial_checkpoints("00004") / WEIGHTS)
    np.testing.assert_allclose(weights["fc.weight"].numpy(), arrays["fc.weight"], atol=1e-7)


def test_diverging_trial_tells_its_failure_instead_of_raising(tmp_path: Path) -> None:
    assignment = _assignment(lr=1e30, epochs=2)
    (told,) = _messages(assignment, _setting(tmp_path))
    assert told["cause"] == "diverged"
    assert "epoch 1" in told["failed"]
    assert told["traceback"] == ""


def test_bug_in_a_trial_is_told_with_its_traceback(tmp_path: Path) -> None:
    (told,) = _messages(_assignment(), _setting(tmp_path, recipe="no such"))
    assert told["cause"] == "bug"
    assert told["failed"].startswith("KeyError")
    assert "in run_trial" in told["traceback"]


def test_trial_whose_gpu_is_lost_takes_its_process_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later trials in the same process would all fail, so Ray has to take another one."""

    def train(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(trial, "train", train)
    with pytest.raises(RuntimeError, match="device-side assert"):
        _messages(_assignment(), _setting(tmp_path, device="cuda"))
    (told,) = _messages(_assignment(), _setting(tmp_path, device="cpu"))
    assert told["cause"] == "bug"


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_trial_that_is_out_of_memory_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def train(*_: Any, **__: Any) -> None:
        raise error("no room")

    monkeypatch.setattr(trial, "train", train)
    (told,) = _messages(_assignment(), _setting(tmp_path))
    assert (told["cause"], told["failed"]) == ("memory", "out of memory: no room")


def test_run_folder_that_the_worker_does_not_see_is_told(tmp_path: Path) -> None:
    setting = _setting(tmp_path)
    RunFolder(tmp_path).manifest.unlink()
    (told,) = _messages(_assignment(), setting)
    assert "storage that all share" in told["failed"]


def test_torn_checkpoint_fails_the_trial_by_name(tmp_path: Path) -> None:
    whole = _messages(_assignment(epochs=2), _setting(tmp_path))
    folder = RunFolder(tmp_path).trial_checkpoints("00004")
    (folder / "epoch_0002" / "state.pt").write_bytes(b"torn")
    standings = tuple(standing(message["metrics"]) for message in whole)
    assignment = replace(_assignment(), standings=standings)
    (told,) = _messages(assignment, _setting(tmp_path))
    assert "state.pt" in told["failed"]


def _private_mb() -> float:
    told = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in told.splitlines() if "Private_Dirty" in line) / 1e3


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what was freed")
def test_memory_that_a_trial_freed_goes_back_to_the_machine() -> None:
    pieces = [np.ones(20_000, dtype=np.uint8) for _ in range(5_000)]  # 100 MB
    del pieces[:-1]  # what lies below a piece in use stays with the process
    kept = _private_mb()
    give_back_memory("cpu")
    assert kept - _private_mb() > 60


def _base() -> Starting:
    recipe = make_recipe("energy", train_section("energy"))
    base = recipe.build_model("resnet20", 3, dropout=0.0, image_size=8, seed=5)
    return Starting(weights={"resnet20": {n: t.numpy() for n, t in base.state_dict().items()}})


def test_trial_with_a_path_keeps_every_state_and_the_weights_of_the_best(tmp_path: Path) -> None:
    right = np.arange(len(toy_data().val_id.images)) % 2 == 0
    goal = Goal("val/fpr95", Floor(0.3, base_right=right))
    setting = _setting(
        tmp_path, starting=_base(), goal=goal, path=PathPlan((0.25, 0.5), halvings=0)
    )
    told = _messages(replace(_assignment(lr=0.05), path=True), setting)
    run = RunFolder(tmp_path)
    scores = read_scores(run, "00004")
    assert scores.epochs.tolist() == [1] * 4 + [2] * 4 + [3] * 4
    assert scores.alphas.tolist() == [0, 0.25, 0.5, 1] * 3
    for row, state in enumerate(state for message in told for state in message["states"]):
        one = [scores.sets[name].scores["energy"][row] for name in ("val_id", "far")]
        assert ood_metrics(*one)["fpr95"] == state["val/fpr95"]
    energies = scores.sets["far"].scores["energy"]
    assert len({one.tobytes() for one in energies}) == 1 + 9  # the base is one, no others are
    for message in told:
        best = min(reversed(message["states"]), key=standing)
        assert {n: message["metrics"][n] for n in best} == best
    chosen = min(told, key=lambda message: standing(message["metrics"]))
    _, notes = load_weights(run.trial_checkpoints("00004") / WEIGHTS)
    alpha = chosen["metrics"]["val/alpha"]
    assert (notes["epoch"], notes["alpha"]) == (str(chosen["epoch"]), f"{alpha:g}")


def test_ends_of_a_path_are_the_base_and_the_trained_weights(tmp_path: Path) -> None:
    _messages(_assignment(), _setting(tmp_path / "plain", starting=_base()))
    setting = _setting(tmp_path / "path", starting=_base(), path=PathPlan((0.5,), halvings=0))
    _messages(replace(_assignment(), path=True), setting)
    plain, path = (read_scores(RunFolder(tmp_path / name), "00004") for name in ("plain", "path"))
    recipe = make_recipe("energy", train_section("energy"))
    base = recipe.build_model("resnet20", 3, dropout=0.0, image_size=8, seed=5)
    base.to(memory_format=torch.channels_last)
    found = evaluate(recipe, base, toy_data(), torch.device("cpu")).ood["far"].scores["energy"]
    energies = path.sets["far"].scores["energy"]
    np.testing.assert_array_equal(energies[0], found)
    np.testing.assert_array_equal(energies[path.at(3)], plain.sets["far"].scores["energy"][2])


def test_path_leaves_training_as_it_was(tmp_path: Path) -> None:
    plain = _messages(_assignment(), _setting(tmp_path / "plain", starting=_base()))
    setting = _setting(tmp_path / "path", starting=_base(), path=PathPlan((0.5,), halvings=0))
    told = _messages(replace(_assignment(), path=True), setting)
    trained = [message["states"][-1] for message in told]
    for one, other in zip(plain, trained, strict=True):
        assert {n: one["metrics"][n] for n in other if n != "val/alpha"} == {
            n: value for n, value in other.items() if n != "val/alpha"
        }


def test_path_is_halved_where_it_leaves_the_floor_and_training_goes_on(tmp_path: Path) -> None:
    goal = Goal("val/fpr95", Floor(0.6))  # the second and third epoch end under it
    assignment = _assignment(lr=0.05, epochs=4)
    plain = _messages(assignment, _setting(tmp_path / "plain", starting=_base(), goal=goal))
    path = PathPlan((0.25, 0.5), halvings=2)
    setting = _setting(tmp_path / "path", starting=_base(), goal=goal, path=path)
    told = _messages(replace(assignment, path=True), setting)
    scores = read_scores(RunFolder(tmp_path / "path"), "00004")
    by_epoch = [scores.alphas[scores.epochs == epoch].tolist() for epoch in (1, 2, 3, 4)]
    assert by_epoch[0] == by_epoch[1] == by_epoch[3] == [0, 0.25, 0.5, 1]
    assert by_epoch[2] == [0, 0.25, 0.5, *_halved(told[2]["states"]), 1]
    for one, other in zip(plain, told, strict=True):
        assert one["metrics"]["val/fpr95"] == other["states"][-1]["val/fpr95"]


def _halved(states: list[dict[str, float]]) -> list[float]:
    middle = next(one for one in states if one["val/alpha"] == 0.75)
    return [0.625, 0.75] if middle["val/floor_shortfall"] else [0.75, 0.875]


def test_resumed_trial_with_changed_scores_stops_by_their_name(tmp_path: Path) -> None:
    (first, *_) = _messages(_assignment(epochs=1), _setting(tmp_path))
    file = RunFolder(tmp_path).epoch_scores("00004") / "epoch_0001.npz"
    known = {"standings": (standing(first["metrics"]),), "scores": (first["scores"],)}
    file.write_bytes(file.read_bytes() + b" ")
    (told,) = _messages(replace(_assignment(epochs=2), **known), _setting(tmp_path))
    assert "epoch_0001.npz: is not what was recorded" in told["failed"]
