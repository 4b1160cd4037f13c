"""What tests of ``analysis`` share."""

from __future__ import annotations

from pathlib import Path

import pytest

import analysis
from analysis.report import figures
from analysis.study import Study
from tests.fake_ablation import make_ablation, shifted
from tests.fake_run import Fake, make_run


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of a report are drawn as ever and not rendered, which takes half of its time."""
    monkeypatch.setattr(figures, "picture", lambda figure, alt: figures.Picture("data:,", alt))


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A search of ten trials that tests look at, and change nothing of."""
    folder = tmp_path_factory.mktemp("seeing")
    make_run(folder, Fake(num_id=60))
    return analysis.load(folder)


@pytest.fixture(scope="session")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an ablation of three arms at three seeds, likewise."""
    path = tmp_path_factory.mktemp("ablation")
    make_ablation(path, shifted, failed=[("plain=sgd", 2)])
    return path
