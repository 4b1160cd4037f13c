"""A recorded trial again: the same to the last bit, or what differs."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from study import replay as module
from study.errors import BadInput
from study.options import ReplayOptions
from study.records.files import TRIAL_JSON, RunFolder, write_bytes, write_json
from study.records.ledger import Ledger, encode, read_ledger
from study.records.manifest import made_now
from study.records.scores import add_epoch, read_scores
from study.replay import Agreement, replay
from study.run_folder import hashes
from study.space.study_spec import StudySpec
from study.tune.setup import CheckedStudy, Setup
from study.watch.progress import Progress
from tests.integration.faults import search_here, small_setup

LEAKS: Any = SimpleNamespace(test_fingerprints={})


@pytest.fixture(scope="module")
def setup() -> Setup:
    return small_setup()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, setup: Setup) -> RunFolder:
    """A finished study with the record that a real one begins with."""
    run = RunFolder(tmp_path_factory.mktemp("recorded") / "run")
    run.path.mkdir()
    write_bytes(run.spec, setup.spec.dump().encode())
    told = {"roles": setup.data.fingerprints(), "test_fingerprints": {}}
    write_json(
        run.manifest, {**made_now("the command"), "data": told, "base": None, "initial": {}}
    )
    with Ledger(run.ledger) as ledger:
        ledger.append("started", command="", **hashes(setup.spec, setup.data))
    search_here(run.path, setup)
    return run


@pytest.fixture
def run(tmp_path: Path, recorded: RunFolder) -> RunFolder:
    return RunFolder(Path(shutil.copytree(recorded.path, tmp_path / "run")))


@pytest.fixture(autouse=True)
def _toy_data(monkeypatch: pytest.MonkeyPatch, setup: Setup) -> None:
    def checked(spec: StudySpec, plan: Any, _: Progress) -> CheckedStudy:
        return CheckedStudy(spec, plan, setup.data, LEAKS)

    monkeypatch.setattr(module, "prepare_data", checked)
    monkeypatch.setattr(module, "prepare", lambda *_, **__: setup)
    monkeypatch.setattr(module.run_folder, "recorded_plan", lambda run: None)


def _replay(run: RunFolder, number: int = 0) -> Agreement:
    with Progress(io.StringIO(), live=False, quiet=True) as progress:
        return replay(ReplayOptions(run.path, number), progress)


def _edit_ledger(run: RunFolder, change: Any) -> None:
    """Rewrite the ledger with good checksums, as somebody who means it would."""
    records = list(read_ledger(run.ledger)[0])
    bodies = [{k: v for k, v in record.items() if k != "crc32"} for record in records]
    change(bodies)
    run.ledger.write_bytes(b"".join(encode(body) for body in bodies))


@pytest.mark.parametrize("number", [0, 1])
def test_recorded_trial_repeats_bit_for_bit_and_changes_nothing(
    run: RunFolder, number: int
) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    agreement = _replay(run, number)
    assert agreement.same
    assert agreement.circumstances == []
    assert agreement.text().startswith(f"Trial 0000{number} repeats bit for bit: ")
    assert "stored values" in agreement.text()
    after = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert after == before


def test_metric_that_differs_is_named_with_its_epoch_and_both_values(run: RunFolder) -> None:
    def change(bodies: list[dict[str, Any]]) -> None:
        told = next(b for b in bodies if b["event"] == "result" and b["epoch"] == 2)
        told["metrics"]["train/loss"] += 1e-12

    _edit_ledger(run, change)
    agreement = _replay(run)
    assert not agreement.same
    assert agreement.differences[0].startswith("epoch 2, train/loss: ")
    assert "Versions, machine, threads and data are as they were." in agreement.text()


def test_scores_that_differ_in_one_bit_are_named(run: RunFolder) -> None:
    scores = read_scores(run, "00000")
    scores.sets["far"].scores["msp"].view("u8")[0, 3] ^= 1
    add_epoch(run, "00000", scores.upto(1))
    agreement = _replay(run)
    assert agreement.differences == ["00000, far/msp: not the values on record"]


def test_changed_versions_machine_and_data_are_told_beside_what_differs(run: RunFolder) -> None:
    manifest = json.loads(run.manifest.read_text())
    manifest["versions"]["torch"] = "1.0"
    manifest["hardware"]["num_cpus"] = 96
    manifest["data"]["roles"]["train"] = "other"
    write_json(run.manifest, manifest)
    told = _replay(run).circumstances
    assert [one.split(":")[0] for one in told] == [
        "data", "version of torch", "hardware, num_cpus",
    ]  # fmt: skip


def test_precision_that_auto_was_on_another_device_is_told(run: RunFolder) -> None:
    path = run.trial_checkpoints("00000") / TRIAL_JSON
    write_json(path, json.loads(path.read_text()) | {"precision": "bf16"})
    assert _replay(run).circumstances == ["precision: bf16 -> fp32"]


def test_trial_that_is_not_on_record_is_bad_input(run: RunFolder) -> None:
    with pytest.raises(BadInput, match="the trials are 00000 to 00003"):
        _replay(run, 77)


def test_folder_without_a_study_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no study"):
        _replay(RunFolder(tmp_path))


def test_torn_scores_are_bad_input_by_name(run: RunFolder) -> None:
    path = run.epoch_scores("00000") / "epoch_0001.npz"
    path.write_bytes(path.read_bytes()[:999])
    with pytest.raises(BadInput, match="scores/00000"):
        _replay(run)


def test_edited_spec_is_bad_input(run: RunFolder) -> None:
    run.spec.write_text(run.spec.read_text().replace("epochs: 3", "epochs: 4"))
    with pytest.raises(BadInput, match=r"spec\.yaml: is not what"):
        _replay(run)


def test_failure_on_record_is_repeated_too(run: RunFolder, setup: Setup) -> None:
    def change(bodies: list[dict[str, Any]]) -> None:
        last = max(i for i, b in enumerate(bodies) if b["event"] == "result")
        number = bodies[last]["number"]
        epoch = bodies[last]["epoch"]
        fields = {"reason": f"epoch {epoch}: val/objective is nan", "cause": "diverged"}
        bodies[last] = {
            "event": "failed", "time": "", "number": number, "epoch": epoch - 1, **fields,
            "traceback": "",
        }  # fmt: skip

    _edit_ledger(run, change)
    agreement = _replay(run, 3)
    assert any(one.startswith("failure: ") for one in agreement.differences)
