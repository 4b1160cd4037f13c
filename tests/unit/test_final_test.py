from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from study import final_test as module
from study.bases.saved_models import load_model
from study.data.test_access import TestData
from study.errors import BadInput
from study.final_test import final_test, main
from study.models.weights import save_weights
from study.recipes.registry import make_recipe
from study.records.files import TEST_OPENED, TRIAL_JSON, WEIGHTS, RunFolder, write_json
from study.records.frozen import file_hash, seal
from study.records.ledger import Ledger, read_ledger
from study.records.scores import ValidationScores
from study.records.test_accesses import machine_ledger
from study.training.assignment import Assignment
from study.training.evaluation import evaluate_sets
from study.training.trial import fresh_model
from tests.toys import toy_images, train_section

MODEL = {"backbone": "resnet20", "dropout": 0.0}


def _test_data(seed: int = 8) -> TestData:
    return TestData(
        toy_images("test", 21, classes=3, seed=seed), {"scenes": toy_images("scenes", 15, seed=9)}
    )


def _fingerprints(test: TestData) -> dict[str, str]:
    sets = {name: images.fingerprint for name, images in test.ood.items()}
    return {"test_id": test.id.fingerprint} | sets


def _make_model(run: RunFolder, name: str, seed: int) -> None:
    folder = run.trial_checkpoints(name)
    folder.mkdir(parents=True)
    told = {"number": 2, "seed": seed, "model": MODEL, "train": train_section("energy")}
    recipe = make_recipe("energy", told["train"])  # type: ignore[arg-type]
    model = fresh_model(recipe, Assignment(**told), 3, 8)  # type: ignore[arg-type]
    save_weights(model, folder / WEIGHTS)
    write_json(folder / TRIAL_JSON, {"recipe": "energy", **told})


@dataclass(frozen=True)
class Plan:
    """What the final test asks a plan for."""

    name: str
    ood_test: tuple[str, ...] = ("scenes",)


MakeRun = Callable[[str], RunFolder]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Puts toy sets behind the seal; holds a line for each opening."""
    calls: list[Any] = []

    def open_test(plan: Any) -> TestData:
        calls.append(plan)
        return _test_data()

    monkeypatch.setattr(module, "open_test", open_test)
    monkeypatch.setattr(module, "recorded_plan", lambda run: Plan(f"the plan of {run.path.name}"))
    monkeypatch.setenv("OOD_STUDY_STATE", str(tmp_path / "state"))
    return calls


@pytest.fixture
def make_run(tmp_path: Path, opened: list[Any]) -> MakeRun:
    def make(name: str) -> RunFolder:
        run = RunFolder(tmp_path / name)
        run.path.mkdir()
        write_json(run.manifest, {"data": {"test_fingerprints": _fingerprints(_test_data())}})
        _make_model(run, "00002", seed=1)
        _make_model(run, "base", seed=2)
        weights = file_hash(run.trial_checkpoints("00002") / WEIGHTS)
        frozen = seal({"trial_id": "00002", "winner": "00002", "weights_sha256": weights})
        write_json(run.selection, frozen)
        with Ledger(run.ledger) as ledger:
            ledger.append("selected", trial_id="00002", sha256=frozen["sha256"])
        return run

    return make


def _lines(path: Path) -> list[dict[str, Any]]:
    return read_ledger(path)[0]


def test_final_test_scores_winner_and_base_on_every_test_set(make_run: MakeRun) -> None:
    run = make_run("energy")
    final_test(run.path, None, "the command")
    test = _test_data()
    for name, trial in (("winner", "00002"), ("base", "base")):
        kept = ValidationScores.load(run.final_test / f"{name}.npz")
        assert set(kept.sets) == {"test_id", "scenes"}
        saved = load_model(run, trial, 3, 8)
        expected = evaluate_sets(
            saved.recipe, saved.model.eval(), test.id, test.ood, torch.device("cpu"), saved.fitted
        )
        for score, values in expected.ood["scenes"].scores.items():
            np.testing.assert_allclose(kept.sets["scenes"].scores[score][0], values, rtol=1e-4)
        assert kept.sets["test_id"].image.tolist() == test.id.ids.tolist()
    one, two = (ValidationScores.load(run.final_test / f"{n}.npz") for n in ("winner", "base"))
    assert not np.allclose(*(o.sets["test_id"].scores["energy"] for o in (one, two)))


def test_every_fresh_seed_of_a_confirmed_winner_is_scored_and_checked(make_run: MakeRun) -> None:
    run = make_run("energy")
    _make_model(run, "00004", seed=3)
    tested = {n: file_hash(run.trial_checkpoints(n) / WEIGHTS) for n in ("00002", "00004")}
    frozen = json.loads(run.selection.read_text())
    frozen = seal({**frozen, "confirmation": {"tested": tested}})
    write_json(run.selection, frozen)
    with Ledger(run.ledger) as ledger:
        ledger.append("selected", trial_id="00002", sha256=frozen["sha256"])
    intact = (run.trial_checkpoints("00004") / WEIGHTS).read_bytes()
    (run.trial_checkpoints("00004") / WEIGHTS).write_bytes(b"other")
    with pytest.raises(BadInput, match=r"00004.*not the weights that were chosen"):
        final_test(run.path, None, "")
    (run.trial_checkpoints("00004") / WEIGHTS).write_bytes(intact)
    final_test(run.path, None, "")
    names = ("winner", "winner_00004")
    one, two = (ValidationScores.load(run.final_test / f"{name}.npz") for name in names)
    assert not np.allclose(*(o.sets["test_id"].scores["energy"] for o in (one, two)))


def test_opening_is_on_the_ledgers_of_run_and_machine(
    make_run: MakeRun, opened: list[Any]
) -> None:
    run = make_run("energy")
    final_test(run.path, None, "the command")
    assert opened == [Plan("the plan of energy")]
    _, first, scored = _lines(run.ledger)
    frozen = json.loads(run.selection.read_text())
    assert (first["event"], first["command"]) == ("test opened", "the command")
    assert first["selection"] == frozen["sha256"]
    assert first["sets"] == _fingerprints(_test_data())
    assert scored["files"]["final_test/winner.npz"] == file_hash(run.final_test / "winner.npz")
    (line,) = _lines(machine_ledger())
    assert line["sets"] == first["sets"]
    assert line["run"] == str(run.path)


def test_second_opening_is_refused_before_anything_is_read(
    make_run: MakeRun, opened: list[Any]
) -> None:
    run = make_run("energy")
    final_test(run.path, None, "")
    with pytest.raises(BadInput, match="once is what makes it a test"):
        final_test(run.path, None, "")
    assert len(opened) == 1
    assert len(_lines(machine_ledger())) == 1


def test_opening_that_was_cut_off_goes_on_and_counts_once(
    make_run: MakeRun, opened: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("energy")

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "evaluate_sets", cut)
        with pytest.raises(KeyboardInterrupt):
            final_test(run.path, None, "")
    final_test(run.path, None, "")
    assert (run.final_test / "winner.npz").exists()
    assert len(_lines(machine_ledger())) == 1
    with pytest.raises(BadInput, match="--again"):
        final_test(run.path, None, "")


def test_opening_that_was_cut_off_between_the_two_ledgers_is_on_both(
    make_run: MakeRun, opened: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("energy")

    def cut(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "note_access", cut)
        with pytest.raises(KeyboardInterrupt):
            final_test(run.path, None, "")
    assert not machine_ledger().exists()
    final_test(run.path, None, "")
    (line,) = _lines(machine_ledger())
    (opening,) = (one for one in _lines(run.ledger) if one["event"] == TEST_OPENED)
    assert line["opened"] == opening["time"]
    access = json.loads((run.final_test / "access.json").read_text())
    assert access["earlier_on_this_machine"] == []


def test_weights_that_were_not_chosen_are_refused(make_run: MakeRun, opened: list[Any]) -> None:
    run = make_run("energy")
    weights = run.trial_checkpoints("00002") / WEIGHTS
    weights.write_bytes((run.trial_checkpoints("base") / WEIGHTS).read_bytes())
    with pytest.raises(BadInput, match="not the weights that were chosen"):
        final_test(run.path, None, "")
    assert opened == []


def test_description_of_the_chosen_model_or_a_base_that_is_another_is_refused(
    make_run: MakeRun, opened: list[Any]
) -> None:
    run = make_run("energy")
    paths = [run.trial_checkpoints("00002") / TRIAL_JSON, run.trial_checkpoints("base") / WEIGHTS]
    files = {str(path.relative_to(run.path)): file_hash(path) for path in paths}
    frozen = seal({**json.loads(run.selection.read_text()), "files": files})
    write_json(run.selection, frozen)
    with Ledger(run.ledger) as ledger:
        ledger.append("selected", trial_id="00002", sha256=frozen["sha256"])
    for path in paths:
        path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BadInput, match="is not what was chosen") as caught:
        final_test(run.path, None, "")
    assert [fault.place for fault in caught.value.faults] == [str(path) for path in paths]
    assert opened == []


def test_choice_that_is_not_on_the_ledger_is_refused(make_run: MakeRun, opened: list[Any]) -> None:
    run = make_run("energy")
    frozen = json.loads(run.selection.read_text())
    write_json(run.selection, seal({**frozen, "winner": "base"}))
    with pytest.raises(BadInput, match="not the choice that the ledger tells of"):
        final_test(run.path, None, "")
    assert opened == []


def test_model_that_cannot_be_rebuilt_is_refused_before_anything_is_opened(
    make_run: MakeRun,
) -> None:
    run = make_run("energy")
    (run.trial_checkpoints("base") / TRIAL_JSON).write_text("{}")
    with pytest.raises(BadInput, match="does not say what the weights are of"):
        final_test(run.path, None, "the command")
    assert all(line["event"] != TEST_OPENED for line in _lines(run.ledger))
    assert not machine_ledger().exists()


def test_opening_again_needs_a_reason_that_both_ledgers_keep(
    make_run: MakeRun, opened: list[Any]
) -> None:
    run = make_run("energy")
    final_test(run.path, None, "")
    final_test(run.path, "a bug in the scores", "")
    assert len(opened) == 2
    events = [line for line in _lines(run.ledger) if line["event"] == "test opened"]
    assert [line["reason"] for line in events] == ["", "a bug in the scores"]
    assert [line["reason"] for line in _lines(machine_ledger())] == ["", "a bug in the scores"]
    access = json.loads((run.final_test / "access.json").read_text())
    assert [line["reason"] for line in access["earlier_on_this_machine"]] == [""]


def test_opening_again_does_without_what_the_first_one_left(
    make_run: MakeRun, opened: list[Any]
) -> None:
    run = make_run("energy")
    final_test(run.path, None, "")
    shutil.rmtree(run.final_test)
    final_test(run.path, "a full disk", "")
    assert (run.final_test / "winner.npz").exists()


def test_earlier_opening_by_another_study_is_told(make_run: MakeRun) -> None:
    for name in ("first", "second"):
        run = make_run(name)
        final_test(run.path, None, "")
        access = json.loads((run.final_test / "access.json").read_text())
        earlier = [Path(line["run"]).name for line in access["earlier_on_this_machine"]]
        assert earlier == ([] if name == "first" else ["first"])


def test_changed_choice_is_refused_before_anything_is_read(
    make_run: MakeRun, opened: list[Any]
) -> None:
    run = make_run("energy")
    text = run.selection.read_text()
    run.selection.write_text(text.replace('"00002"', '"00001"'))
    with pytest.raises(BadInput, match="does not match its hash"):
        final_test(run.path, None, "")
    run.selection.unlink()
    with pytest.raises(BadInput, match="no trial has been chosen"):
        final_test(run.path, None, "")
    assert opened == []
    assert not machine_ledger().exists()


def test_test_set_that_was_not_checked_for_leaks_is_refused_by_name(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("energy")
    monkeypatch.setattr(module, "open_test", lambda plan: _test_data(seed=77))
    with pytest.raises(BadInput, match=r"'test_id'.*not the ones that were checked"):
        final_test(run.path, None, "")
    assert not run.final_test.exists()


def test_study_without_an_ood_test_is_refused_before_anything_is_read(
    make_run: MakeRun, opened: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("first")
    monkeypatch.setattr(module, "recorded_plan", lambda run: Plan(run.path.name, ()))
    with pytest.raises(BadInput, match="the study has no OOD test set"):
        final_test(run.path, None, "test")
    assert opened == []
    assert not any(line["event"] == TEST_OPENED for line in read_ledger(run.ledger)[0])


def test_recipe_without_a_base_is_tested_alone(make_run: MakeRun) -> None:
    run = make_run("cifar10")
    (run.trial_checkpoints("base") / WEIGHTS).unlink()
    final_test(run.path, None, "")
    assert (run.final_test / "winner.npz").exists()
    assert not (run.final_test / "base.npz").exists()


def test_main_exits_2_with_the_reason_and_no_traceback(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run("energy")
    assert main([str(run.path)]) == 0
    assert main([str(run.path)]) == 2
    told = capsys.readouterr().err
    assert "--again" in told
    assert "Traceback" not in told
    assert main([str(run.path), "--again", "a reason"]) == 0
