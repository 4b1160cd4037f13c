from __future__ import annotations

import pytest

import analysis
from analysis.study import Study
from tests.fake_run import Fake, make_run


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("seeing")
    make_run(folder, Fake(num_id=60))
    return analysis.load(folder)


@pytest.mark.parametrize("draw", ["trade", "rungs", "times", "calibration"])
def test_figure_fits_a_column(study: Study, draw: str) -> None:
    assert getattr(study.plots, draw)().get_figwidth() <= 3.3
