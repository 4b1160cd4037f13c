from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from study.errors import BadInput
from study.records import manifest
from study.records.files import RunFolder, write_json
from study.records.manifest import (
    changed_machine,
    code_diff,
    git_state,
    hardware,
    made_now,
    note_session,
    versions,
)


def test_versions_are_of_the_installed_packages() -> None:
    found = versions()
    assert found["torch"] == version("torch")
    assert {"python", "ray", "optuna", "numpy", "pandas"} <= found.keys()


def test_version_of_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(name: str) -> str:
        if name == "timm":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(manifest, "version", installed)
    found = versions()
    assert (found["timm"], found["torch"]) == ("not installed", version("torch"))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project under git with one file of code, beside a folder that is none of its own."""
    top = tmp_path / "checkout" / "project"
    code = top / "study" / "records" / "code.py"
    code.parent.mkdir(parents=True)
    code.write_text("one\n")
    (top.parent / "letter.py").write_text("private\n")
    git = ["git", "-C", str(top.parent), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", str(code), "letter.py"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "first"], check=True)
    monkeypatch.setattr(manifest, "__file__", str(code))
    return top


def test_git_state_names_commit_and_changed_files(checkout: Path) -> None:
    clean = git_state()
    assert len(clean["commit"]) == 40
    assert (clean["dirty"], clean["changed"]) == (False, [])
    (checkout / "study" / "records" / "code.py").write_text("two\n")
    changed = git_state()
    assert changed["commit"] == clean["commit"]
    assert changed["dirty"]
    assert any("code.py" in line for line in changed["changed"])


def test_code_diff_holds_changed_and_new_code_of_the_project_alone(checkout: Path) -> None:
    assert code_diff() == ""
    (checkout / "study" / "records" / "code.py").write_text("two\n")
    (checkout / "study" / "new.py").write_text("three\n")
    (checkout / "results.csv").write_text("a million rows\n")
    (checkout.parent / "letter.py").write_text("very private\n")
    index = (checkout.parent / ".git" / "index").read_bytes()
    diff = code_diff()
    assert "-one\n+two" in diff
    assert "+three" in diff
    assert "private" not in diff
    assert "a million rows" not in diff
    assert (checkout.parent / ".git" / "index").read_bytes() == index


def test_code_diff_applied_to_the_commit_gives_the_code_again(checkout: Path) -> None:
    (checkout / "study" / "records" / "code.py").write_text("two\n")
    (checkout / "study" / "new.py").write_text("three\n")
    patch = checkout.parent.parent / "code.diff"
    patch.write_text(code_diff() + "\n")
    there = checkout.parent.parent / "clone"
    subprocess.run(["git", "clone", "--quiet", str(checkout.parent), str(there)], check=True)
    subprocess.run(["git", "-C", str(there), "apply", str(patch)], check=True)
    study = there / "project" / "study"
    assert (study / "records" / "code.py").read_text() == "two\n"
    assert (study / "new.py").read_text() == "three\n"


def test_package_that_is_installed_below_a_checkout_is_not_of_its_commit(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = checkout / "environment" / "study" / "records" / "manifest.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("")
    monkeypatch.setattr(manifest, "__file__", str(installed))
    assert git_state()["commit"] is None
    assert code_diff() == ""


def test_git_state_outside_a_checkout_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "__file__", str(tmp_path / "code.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state() == {"commit": None, "dirty": None, "changed": []}


def test_hardware_is_of_this_machine() -> None:
    found = hardware()
    assert found["num_cpus"] == os.cpu_count()
    assert found["memory_bytes"] > 2**28
    assert found["processor"]


def test_manifest_keeps_the_environment_that_matters_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("OOD_STUDY_CACHE", "somewhere")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setenv("A_TOKEN", "must not be kept")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "must not be kept")
    monkeypatch.setenv("HOME", "must not be kept")
    made = made_now("python run_study.py --space energy")
    assert made["command"] == "python run_study.py --space energy"
    assert made["environment"]["OMP_NUM_THREADS"] == "3"
    assert made["environment"]["OOD_STUDY_CACHE"] == "somewhere"
    assert made["environment"]["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert {"driver", "usable_cpus"} == made["threads"].keys()
    assert datetime.fromisoformat(made["created"]).tzinfo is not None
    assert "must not be kept" not in json.dumps(made)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    write_json(folder.manifest, made_now("first", manifest.code_diff()))
    return folder


def _edit(run: RunFolder, **changes: object) -> None:
    write_json(run.manifest, json.loads(run.manifest.read_text()) | changes)


def test_note_session_in_the_same_place_tells_nothing_and_is_on_record(run: RunFolder) -> None:
    assert note_session(run, "second") == []
    assert note_session(run, "third") == []
    told = json.loads(run.manifest.read_text())
    assert told["command"] == "first"
    assert [one["command"] for one in told["resumed"]] == ["second", "third"]
    assert told["resumed"][0]["versions"]["torch"]


def test_note_session_with_another_version_and_commit_tells_both(run: RunFolder) -> None:
    told = json.loads(run.manifest.read_text())
    _edit(
        run, versions=told["versions"] | {"torch": "1.0"}, git=told["git"] | {"commit": "a" * 40}
    )
    first, second = note_session(run, "second")
    assert first.startswith("version of torch: 1.0 -> ")
    assert second.startswith("code, commit: aaaaaaaa -> ")


def test_note_session_with_other_code_keeps_its_diff(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "code_diff", lambda: "+ another line\n")
    (told,) = note_session(run, "second")
    assert told.startswith("code, diff_sha256: ")
    (kept,) = run.path.glob("*.code.diff")
    assert kept.read_text() == "+ another line\n"


def test_note_session_of_a_manifest_without_a_beginning_is_refused(run: RunFolder) -> None:
    write_json(run.manifest, {"versions": {}})
    with pytest.raises(BadInput, match="does not tell how the study began: 'hardware'"):
        note_session(run, "second")


def test_changed_machine_names_hardware_then_and_now(run: RunFolder) -> None:
    told = json.loads(run.manifest.read_text())
    told["hardware"]["num_cpus"] = 999
    (line,) = changed_machine(told)
    assert line.startswith("hardware, num_cpus: 999 -> ")
