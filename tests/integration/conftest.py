"""What integration tests share: data, a cache in which a base is trained once, one whole study.

They are made once for all workers of pytest-xdist: whoever comes second waits.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.runs import PROJECT, Shell, new_study
from tests.small_data import write_small_root


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this test session have."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def _made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """A folder that is made by whichever worker comes first."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made := folder.with_suffix(".made")).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def caches(shared: Path) -> dict[str, str]:
    """The environment of all studies of this test session."""
    folder = shared / "caches"
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OOD_STUDY_CACHE": str(folder / "cache"),
        "OOD_STUDY_STATE": str(folder / "state"),
        "PYTHONPATH": str(PROJECT),
    }


@pytest.fixture(scope="session")
def data(shared: Path) -> Path:
    """The data root of all studies of this test session."""
    return _made_once(shared / "data", write_small_root)


@pytest.fixture
def shell(tmp_path: Path, caches: dict[str, str], data: Path) -> Shell:
    """Runs commands in a folder of this test."""
    return Shell(tmp_path, caches, data)


@pytest.fixture
def fresh_shell(tmp_path: Path, caches: dict[str, str], data: Path) -> Shell:
    """The same with an empty cache, in which no base is trained yet."""
    return Shell(tmp_path, {**caches, "OOD_STUDY_CACHE": str(tmp_path / "cache")}, data)


@pytest.fixture(scope="session")
def finished(shared: Path, caches: dict[str, str], data: Path) -> Path:
    """The folder of a study that was never interrupted; tests read it and change nothing."""

    def make(folder: Path) -> None:
        shell = Shell(folder, caches, data)
        code, out = shell.study(*new_study("whole"))
        assert code == 0, shell.told()
        (folder / "stdout.txt").write_text(out)

    return _made_once(shared / "finished", make) / "whole"


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
