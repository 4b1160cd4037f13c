"""What integration tests share: a cache in which the base is trained once, and one whole study."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.runs import PROJECT, Shell, new_study


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of all studies of this test session."""
    folder = tmp_path_factory.mktemp("caches")
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OOD_STUDY_CACHE": str(folder / "cache"),
        "OOD_STUDY_STATE": str(folder / "state"),
        "PYTHONPATH": str(PROJECT),
    }


@pytest.fixture
def shell(tmp_path: Path, caches: dict[str, str]) -> Shell:
    """Runs commands in a folder of this test."""
    return Shell(tmp_path, caches)


@pytest.fixture
def fresh_shell(tmp_path: Path, caches: dict[str, str]) -> Shell:
    """The same with an empty cache, in which no base is trained yet."""
    shell = Shell(tmp_path, caches)
    return replace(shell, env={**caches, "OOD_STUDY_CACHE": str(tmp_path / "cache")})


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, caches: dict[str, str]) -> Path:
    """The folder of a study that was never interrupted; tests read it and change nothing."""
    shell = Shell(tmp_path_factory.mktemp("finished"), caches)
    code, out = shell.study(*new_study("whole"))
    assert code == 0, shell.told()
    (shell.folder / "stdout.txt").write_text(out)
    return shell.folder / "whole"


@pytest.fixture
def copied(finished: Path, shell: Shell) -> Path:
    """A copy of that study, for what adds to it."""
    return Path(shutil.copytree(finished, shell.folder / finished.name))


@pytest.fixture(scope="module")
def ray_running_here() -> Iterator[None]:
    """The project's own local Ray, with two CPUs."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(PROJECT)  # workers are started elsewhere than in the checkout
    from study.tune.ray_tuner import ray_running

    try:
        with ray_running(None, num_cpus=2):
            yield
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
