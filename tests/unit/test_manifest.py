from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import pytest

from study import manifest
from study.manifest import git_state, hardware, made_now, versions


def test_versions_are_of_the_installed_packages() -> None:
    found = versions()
    assert found["torch"] == version("torch")
    assert {"python", "ray", "optuna", "numpy", "pandas"} <= found.keys()


def test_version_of_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_PACKAGES", ("no-such-package",))
    assert versions()["no-such-package"] == "not installed"


def test_git_state_names_commit_and_changed_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    code = tmp_path / "code.py"
    code.write_text("one")
    subprocess.run([*git, "add", "code.py"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "first"], check=True)
    monkeypatch.setattr(manifest, "__file__", str(code))
    clean = git_state()
    assert len(clean["commit"]) == 40
    assert (clean["dirty"], clean["changed"]) == (False, [])
    code.write_text("two")
    changed = git_state()
    assert changed["commit"] == clean["commit"]
    assert changed["dirty"]
    assert any("code.py" in line for line in changed["changed"])


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
    monkeypatch.setenv("A_TOKEN", "must not be kept")
    made = made_now("python run_study.py --space energy")
    assert made["command"] == "python run_study.py --space energy"
    assert made["environment"]["OMP_NUM_THREADS"] == "3"
    assert made["environment"]["OOD_STUDY_CACHE"] == "somewhere"
    assert datetime.fromisoformat(made["created"]).tzinfo is not None
    assert "must not be kept" not in json.dumps(made)
